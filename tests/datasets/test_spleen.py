"""Task09_Spleen's layout, its archive, and its download from a server on 127.0.0.1."""

import hashlib
import io
import json
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cobot.datasets import spleen_download
from cobot.datasets.archive import unpack
from cobot.datasets.spleen import SPLEEN, SPLEEN_ARCHIVE, SPLEEN_MIRROR, SpleenLayout
from cobot.datasets.spleen_download import download_spleen
from cobot.errors import DatasetError, DownloadError
from cobot.intensity import IntensityWindow
from cobot.published import PublishedFile

LAYOUT = SpleenLayout(training=2, test=1)


@pytest.fixture
def source(downloads, tmp_path):
    return downloads.spleen(tmp_path / "download", training=2, test=1)


def edit_index(source, **changes):
    path = source / "Task09_Spleen" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_it_is_what_monai_publishes(downloads):
    assert SPLEEN.labels == {1: "spleen"}
    volume = downloads.phantom().volume
    assert SPLEEN.window("spleen").resolve(volume) == IntensityWindow(-57.0, 164.0)
    assert (SpleenLayout().training, SpleenLayout().test) == (41, 20)
    # As in MONAI 1.6's DecathlonDataset, whose import takes half a minute.
    assert SPLEEN_ARCHIVE.checksum == "410d4a301da4e5b2f6f86ec3ddba524e"
    assert f"{SPLEEN_MIRROR}/{SPLEEN_ARCHIVE.file_name}" == (
        "https://msd-for-monai.s3-us-west-2.amazonaws.com/Task09_Spleen.tar"
    )


@pytest.mark.parametrize("inner", ["", "Task09_Spleen"])
def test_both_the_folder_and_the_one_around_it_will_do(source, inner):
    survey = LAYOUT.survey(source / inner)
    assert survey.missing == ()
    assert [(case.name, case.truth is None) for case in survey.cases] == [
        ("spleen_1", False), ("spleen_2", False), ("spleen_3", True)
    ]  # fmt: skip


def test_an_index_with_fewer_cases_is_incomplete(source):
    missing = SpleenLayout(training=3, test=1).survey(source).missing
    assert missing == ("dataset.json with 3 training and 1 test cases (it names 2 and 1)",)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"labels": {"0": "background", "1": "left atrium"}}, "another task of the Decathlon"),
        ({"training": [{"image": "./imagesTr/spleen_1.nii.gz"}]}, "damaged .KeyError: 'label'"),
        ({"test": None}, "damaged .TypeError"),
        ({"training": ["x"]}, "damaged .TypeError"),
        ({"test": [7]}, "damaged .TypeError: 7 is no file name"),
        ({"test": ["../../secret.nii.gz"]}, r"names '../../secret.nii.gz'.*below its own folder"),
        ({"test": ["/etc/secret.nii.gz"]}, "names '/etc/secret.nii.gz'"),
        ({"test": ["imagesTs/spleen_3.exe"]}, "expected a .nii.gz file"),
    ],
)
def test_a_wrong_index_is_refused(source, changes, refusal):
    edit_index(source, **changes)
    with pytest.raises(DatasetError, match=refusal):
        LAYOUT.survey(source)


def test_no_index_or_a_torn_one_is_refused(source, tmp_path):
    with pytest.raises(DatasetError, match="holds no dataset.json.*--download"):
        LAYOUT.survey(tmp_path)
    index = source / "Task09_Spleen" / "dataset.json"
    index.write_bytes(index.read_bytes()[:-9])
    with pytest.raises(DatasetError, match="damaged .JSONDecodeError"):
        LAYOUT.survey(source)


def packed(source, archive):
    with tarfile.open(archive, "w") as tar:
        tar.add(source / "Task09_Spleen", "Task09_Spleen")
    return archive


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside.txt"),
        member("a/../../outside.txt"),
        member("/tmp/outside.txt"),
        member("C:\\outside.txt"),
        member("a", tarfile.SYMTYPE, "/etc"),
        member("a", tarfile.LNKTYPE, "../outside.txt"),
        member("a", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name} {info.type.decode()}",
)
def test_archives_write_nowhere_else(downloads, tmp_path, bad):
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        for info in (member("good.txt"), bad):
            tar.addfile(info, io.BytesIO(b"data"))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(DatasetError, match="is a link or would be written outside"):
        unpack(archive, folder)
    assert list(downloads.tree(tmp_path)) == ["bad.tar"]


def test_unpacking_goes_on_after_a_crash(downloads, source, tmp_path):
    archive = packed(source, tmp_path / "spleen.tar")
    there = tmp_path / "there"
    there.mkdir()
    unpack(archive, there)
    wanted = {name: data for name, data in downloads.tree(source).items() if "/._" not in name}
    assert downloads.tree(there) == wanted
    kept = there / "Task09_Spleen" / "imagesTr" / "spleen_1.nii.gz"
    torn = there / "Task09_Spleen" / "imagesTr" / "spleen_2.nii.gz"
    stamp = kept.stat().st_mtime_ns
    torn.write_bytes(b"torn")
    unpack(archive, there)
    assert downloads.tree(there) == wanted
    assert kept.stat().st_mtime_ns == stamp


def test_a_torn_archive_is_refused(source, tmp_path):
    archive = packed(source, tmp_path / "spleen.tar")
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DatasetError, match="cut short or damaged.*download it again"):
        unpack(archive, tmp_path)


@pytest.fixture
def mirror(source, tmp_path, monkeypatch):
    """A server with a small Task09_Spleen.tar in the place of the published one."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    archive = packed(source, served / "Task09_Spleen.tar")
    digest = hashlib.md5(archive.read_bytes()).hexdigest()
    small = PublishedFile(archive.name, None, digest, "md5")
    monkeypatch.setattr(spleen_download, "SPLEEN_ARCHIVE", small)
    monkeypatch.setattr(spleen_download, "SpleenLayout", lambda: LAYOUT)
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.command)

    handler = partial(Handler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_it_is_fetched_checked_and_unpacked_once(mirror, tmp_path):
    address, asked = mirror
    folder = tmp_path / "fetched"
    told = []
    download_spleen(folder, address, lambda here, whole: told.append((here, whole)))
    assert LAYOUT.survey(folder).missing == ()
    size = (folder / "Task09_Spleen.tar").stat().st_size
    assert told[-1] == (size, size)
    assert asked == ["HEAD", "GET"]
    download_spleen(folder, address, lambda here, whole: None)
    assert asked == ["HEAD", "GET"]
    # A file that was lost comes from the archive, which is still there.
    (folder / "Task09_Spleen" / "imagesTr" / "spleen_1.nii.gz").unlink()
    download_spleen(folder, address, lambda here, whole: None)
    assert LAYOUT.survey(folder).missing == ()
    assert asked == ["HEAD", "GET"]


def test_another_archive_is_thrown_away(mirror, tmp_path):
    address, _ = mirror
    archive = tmp_path / "served" / "Task09_Spleen.tar"
    archive.write_bytes(archive.read_bytes() + b"more")
    folder = tmp_path / "fetched"
    with pytest.raises(DownloadError, match="not the published file.*--mirror URL"):
        download_spleen(folder, address, lambda here, whole: None)
    assert list(folder.iterdir()) == []
