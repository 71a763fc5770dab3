"""What every test shares: a home folder, no display, fp32, and properties that repeat exactly."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Set before anything imports matplotlib: tests draw into files, also where there is no display.
os.environ["MPLBACKEND"] = "Agg"
# Also in the processes that tests start: the same numbers on every CPU. Who tests bf16 asks for it.
os.environ["COBOT_PRECISION"] = "fp32"
# Side by side, every process and what it starts keeps to its share of the cores.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))

# No deadline: a slow machine is not a wrong result. Derandomised: a red run can be run again.
settings.register_profile("repeatable", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory):
    """Keep tests away from the user's downloaded weights and caches; return the folder used."""
    home = tmp_path_factory.mktemp("cobot-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COBOT_HOME", str(home))
        yield home


@pytest.fixture
def text_encodings(monkeypatch) -> list[str | None]:
    """The encodings that files are opened as text with from now on; None is the system's own."""
    opened: list[str | None] = []
    plain_open = Path.open

    def spy(path, mode="r", *args, **named):
        if "b" not in mode:
            opened.append(named.get("encoding"))
        return plain_open(path, mode, *args, **named)

    monkeypatch.setattr(Path, "open", spy)
    return opened
