"""The real server as a process, and how to talk to it."""

import os
import queue
import re
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

STARTUP_S = 600


@dataclass
class Server:
    """A running `cobot serve`."""

    process: subprocess.Popen[str]
    address: str
    studies: Path
    folder: Path
    lines: "queue.Queue[str | None]"
    reader: threading.Thread

    def end(self) -> None:
        """Kill it if it still runs, and wait for the thread that reads what it prints."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=30)
        self.reader.join(timeout=30)
        self.process.stdout.close()


def start(studies: Path, folder: Path, options: list[str], sessions: Path) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", "cobot.cli.main", "serve", "--port", "0"]
        + ["--studies", str(studies), "--device", "cpu", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**os.environ, "MONAI_LABEL_SESSION_PATH": str(sessions)},
    )
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    seen = ""
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        line = lines.get(timeout=STARTUP_S)
        if line is None:
            break
        seen += line
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return Server(process, found.group(), studies, folder, lines, reader)
    process.kill()
    raise AssertionError(f"the server did not start:\n{seen}")


@pytest.fixture(scope="module")
def start_server(tmp_path_factory):
    """Starts servers on a folder of studies; what still runs ends with the module."""
    running: list[Server] = []

    def started(studies: Path, *options: str, session_folder: Path | None = None) -> Server:
        folder = tmp_path_factory.mktemp("server")
        sessions = session_folder or folder / "sessions"
        running.append(start(studies, folder, list(options), sessions))
        return running[-1]

    yield started
    for server in running:
        server.end()


@pytest.fixture(scope="module")
def client_of(tmp_path_factory):
    """MONAI Label's own client, which sends what Slicer's module sends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monailabel.client import MONAILabelClient

    def client(server: Server, name: str = "user-1"):
        return MONAILabelClient(server.address, str(tmp_path_factory.mktemp("client")), name)

    return client
