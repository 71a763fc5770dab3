import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cobot.cli.main import app
from cobot.errors import ConfigError
from cobot.published import PublishedFile
from cobot.sam import official
from typer.testing import CliRunner


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Keep quiet."""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A server of a folder with a small stand-in for vit_b."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    content = b"weights" * 1000
    stand_in = PublishedFile("small.pth", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(official, "OFFICIAL", {"vit_b": stand_in})
    served = tmp_path / "served"
    served.mkdir()
    (served / "small.pth").write_bytes(content)
    handler = partial(QuietHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_fetches_into_the_folder_named(mirror, tmp_path):
    home = tmp_path / "home"
    done = CliRunner().invoke(app, ["fetch", "vit_b", "--mirror", mirror, "--home", str(home)])
    assert done.exit_code == 0, done.output
    assert (home / "small.pth").read_bytes() == b"weights" * 1000
    assert "small.pth" in done.output


def test_honours_the_environment(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("COBOT_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("COBOT_MIRROR", mirror)
    assert CliRunner().invoke(app, ["fetch", "vit_b"]).exit_code == 0
    assert (tmp_path / "elsewhere" / "small.pth").is_file()


def test_says_that_tiny_is_here_already():
    refused = CliRunner().invoke(app, ["fetch", "tiny"])
    assert isinstance(refused.exception, ConfigError)
    assert "`tiny` comes with this package" in str(refused.exception)
