"""A training's process ends with the server that started it."""

import os
import subprocess
import sys
import threading

from cobot.server.worker import SERVER_PID, end_with_server, is_worker

WORKER = """
import threading
from cobot.server.worker import end_with_server, is_worker
end_with_server()
print(is_worker(), flush=True)
threading.Event().wait(60)
"""


def test_only_what_a_server_started_is_a_worker(monkeypatch):
    monkeypatch.delenv(SERVER_PID, raising=False)
    assert not is_worker()
    monkeypatch.setenv(SERVER_PID, str(os.getpid()))
    assert not is_worker()
    end_with_server(lambda: (_ for _ in ()).throw(AssertionError("this is the server itself")))
    monkeypatch.setenv(SERVER_PID, str(os.getppid()))
    assert is_worker()


def test_it_ends_when_the_server_is_killed():
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, SERVER_PID: str(server.pid)},
    )
    with worker:
        assert worker.stdout.readline() == "True\n"
        assert worker.poll() is None
        server.kill()
        server.communicate()
        assert worker.wait(timeout=30) == 1


def test_it_ends_at_once_when_the_server_was_gone_before(monkeypatch):
    server = subprocess.Popen([sys.executable, "-c", ""])
    server.wait(timeout=30)
    monkeypatch.setenv(SERVER_PID, str(server.pid))
    ended = threading.Event()
    end_with_server(ended.set)
    assert ended.wait(10)
