"""Against a real server on 127.0.0.1 that misbehaves as told."""

import hashlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cobot import download
from cobot.download import fetch
from cobot.errors import ConfigError, DownloadError
from cobot.published import PublishedFile, Source
from cobot.sam.official import OFFICIAL_MIRROR, weights_source

CONTENT = bytes(range(256)) * 2000
WANTED = PublishedFile("weights.pth", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


@dataclass
class Mirror:
    """What the server has, how it behaves, and what it was asked."""

    content: bytes = CONTENT
    cut_after: list[int] = field(default_factory=list)
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    length_told: bool = True
    total_told: bool = True
    head_says: int | None = None
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def answer(self, request):
        asked = request.headers.get("Range")
        self.asked.append(request.command if request.command == "HEAD" else asked)
        if request.path != "/sam/weights.pth":
            request.send_error(404)
            return
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            request.send_error(status)
            return
        first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and self.ranges else 0
        if first >= len(self.content):
            request.send_error(416)
            return
        body = self.content[first:]
        request.send_response(206 if first else 200)
        if first:
            last, total = len(self.content) - 1, len(self.content) if self.total_told else "*"
            request.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        if request.command == "HEAD" and self.head_says is not None:
            request.send_header("Content-Length", str(self.head_says))
        elif self.length_told:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    behaviour = Mirror()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            behaviour.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_):
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        behaviour.address = f"http://127.0.0.1:{server.server_port}/sam/"
        yield behaviour
        server.shutdown()
        thread.join()


def bring(mirror, folder, tries=3, progress=lambda here, whole: None, wanted=WANTED):
    source = Source(mirror.address, tries=tries, pause_s=0.001, timeout_s=5.0)
    return fetch(wanted, folder, source, progress)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_brings_the_file_and_tells_how_far_it_is(mirror, tmp_path):
    told = []
    home = tmp_path / "new" / "home"
    path = bring(mirror, home, progress=lambda here, whole: told.append((here, whole)))
    assert path == home / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert names(home) == ["weights.pth"]
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert told == sorted(told)


def test_leaves_a_good_file_alone(mirror, tmp_path):
    bring(mirror, tmp_path)
    bring(mirror, tmp_path)
    assert mirror.asked == [None]


def test_replaces_a_bad_file(mirror, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"bad")
    assert bring(mirror, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length_told", [True, False])
def test_goes_on_where_the_connection_was_cut(mirror, tmp_path, length_told):
    mirror.cut_after = [100_000, 50_000, 1]
    mirror.length_told = length_told
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [None, "bytes=100000-", "bytes=150000-", "bytes=150001-"]


def test_goes_on_where_the_mirror_does_not_tell_the_whole_length(mirror, tmp_path):
    mirror.cut_after = [100_000]
    mirror.total_told = False
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [None, "bytes=100000-"]


def test_goes_on_in_a_later_run(mirror, tmp_path):
    mirror.cut_after = [100_000, 0, 0]
    with pytest.raises(DownloadError, match="100000 of 512000 bytes are kept"):
        bring(mirror, tmp_path, tries=2)
    assert names(tmp_path) == ["weights.pth.part"]
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked[-1] == "bytes=100000-"
    assert names(tmp_path) == ["weights.pth"]


def test_begins_anew_where_ranges_are_ignored(mirror, tmp_path):
    mirror.cut_after = [100_000]
    mirror.ranges = False
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked == [None, "bytes=100000-"]


def test_waits_out_a_busy_mirror(mirror, tmp_path):
    mirror.statuses = [503, 429]
    assert bring(mirror, tmp_path).read_bytes() == CONTENT


def test_gives_up_and_says_how_to_do_it_by_hand(mirror, tmp_path):
    mirror.statuses = [503] * 3
    with pytest.raises(DownloadError, match="after 3 tries") as refused:
        bring(mirror, tmp_path)
    assert f"copy the file by hand to {tmp_path / 'weights.pth'}" in str(refused.value)
    assert len(mirror.asked) == 3


def test_says_so_when_nobody_answers(mirror, tmp_path):
    gone = Mirror(address="http://127.0.0.1:9/")
    with pytest.raises(DownloadError, match="copy the file by hand"):
        bring(gone, tmp_path, tries=2)
    assert names(tmp_path) == []


def test_refuses_wrong_bytes(mirror, tmp_path):
    mirror.content = bytes(len(CONTENT))
    with pytest.raises(DownloadError, match="not the published file and was thrown away"):
        bring(mirror, tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_beginning_from_an_earlier_run_is_fetched_anew(mirror, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(b"?" * 1000)
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked == ["bytes=1000-", None]


@pytest.mark.parametrize("surplus", [1, 1000])
def test_a_part_that_is_too_long_is_fetched_anew(mirror, tmp_path, surplus):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"?" * surplus)
    assert bring(mirror, tmp_path).read_bytes() == CONTENT


def test_a_complete_part_is_only_checked(mirror, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert bring(mirror, tmp_path).read_bytes() == CONTENT
    assert mirror.asked == []


@pytest.mark.parametrize("part", [0, 1000])
def test_refuses_a_file_of_another_size(mirror, tmp_path, part):
    mirror.content = CONTENT + b"more"
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:part])
    with pytest.raises(DownloadError, match="has 512004 bytes, expected 512000"):
        bring(mirror, tmp_path)
    assert "weights.pth" not in names(tmp_path)


def test_a_mirror_with_a_shorter_file_is_asked_anew_and_refused(mirror, tmp_path):
    mirror.content = CONTENT[:1000]
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:2000])
    with pytest.raises(DownloadError, match="has 1000 bytes, expected 512000"):
        bring(mirror, tmp_path)


def test_says_where_nothing_was_found(mirror, tmp_path):
    elsewhere = Mirror(address=mirror.address.replace("/sam/", "/elsewhere"))
    with pytest.raises(
        DownloadError, match="/elsewhere/weights.pth answers 404.*Check the mirror .--mirror"
    ):
        bring(elsewhere, tmp_path)
    assert names(tmp_path) == []


def test_says_so_when_the_disk_is_full(mirror, tmp_path, monkeypatch):
    def full(path):
        return type("Usage", (), {"free": 1000})

    monkeypatch.setattr(download.shutil, "disk_usage", full)
    with pytest.raises(DownloadError, match="is full: weights.pth needs 1 MB.*--home"):
        bring(mirror, tmp_path)
    assert mirror.asked == []


def test_says_so_when_the_folder_cannot_be_made(mirror, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be written.*COBOT_HOME"):
        bring(mirror, tmp_path / "file" / "home")


def test_the_mirror_is_given_or_set_or_metas(monkeypatch):
    monkeypatch.delenv("COBOT_MIRROR", raising=False)
    assert weights_source(None).mirror == OFFICIAL_MIRROR
    monkeypatch.setenv("COBOT_MIRROR", "http://set/")
    assert weights_source(None).mirror == "http://set/"
    assert weights_source("https://given").address(WANTED) == "https://given/weights.pth"
    with pytest.raises(ConfigError, match="http:// or https://.*'file:///etc'"):
        weights_source("file:///etc")


UNSIZED = PublishedFile("weights.pth", None, hashlib.md5(CONTENT).hexdigest(), "md5")


def test_an_unpublished_size_is_asked_for_and_an_md5_checked(mirror, tmp_path):
    mirror.cut_after = [100_000]
    mirror.statuses = [503]
    assert bring(mirror, tmp_path, wanted=UNSIZED).read_bytes() == CONTENT
    assert mirror.asked == ["HEAD", "HEAD", None, "bytes=100000-"]
    bring(mirror, tmp_path, wanted=UNSIZED)
    assert len(mirror.asked) == 4


def test_wrong_bytes_are_refused_by_md5_too(mirror, tmp_path):
    mirror.content = bytes(len(CONTENT))
    with pytest.raises(DownloadError, match="has the md5 checksum .* thrown away"):
        bring(mirror, tmp_path, wanted=UNSIZED)
    assert names(tmp_path) == []


def test_a_server_that_tells_no_size_is_given_up(mirror, tmp_path):
    mirror.length_told = False
    with pytest.raises(DownloadError, match="does not tell the file's size.*unknown many bytes"):
        bring(mirror, tmp_path, wanted=UNSIZED)


def test_a_sign_in_page_does_not_cost_what_has_arrived(mirror, tmp_path):
    part = tmp_path / "weights.pth.part"
    part.write_bytes(CONTENT[:-10])
    mirror.head_says = 20
    with pytest.raises(DownloadError, match="told to have 20 bytes, .*the 511990 that have arriv"):
        bring(mirror, tmp_path, wanted=UNSIZED)
    assert part.read_bytes() == CONTENT[:-10]
    mirror.head_says = None
    assert bring(mirror, tmp_path, wanted=UNSIZED).read_bytes() == CONTENT
    assert mirror.asked == ["HEAD", "HEAD", "bytes=511990-"]
