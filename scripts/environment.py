"""Make `.venv` beside the repository and run things with its Python. Standard library only.

A whole environment carries a stamp, written last: what it was made from, and what it then held.
A run that was cut off leaves the word "making" instead, and the next run starts afresh. A lock
keeps two runs from building at once. The syntax stays that of Python 3.6, so that an old Python
can say that it is too old.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST, NEWEST = (3, 10), (3, 12)
ROOM_GB = 12
STAMP = "sam-cobot.json"
NETWORK_CURE = """\
  Cure: read the lines above. If the network is at fault, connect and run the same command again.
  Behind a mirror, set PIP_INDEX_URL and UV_INDEX_URL to its address.
  Without a network, point UV_FIND_LINKS and PIP_FIND_LINKS at a folder of wheels, and set
  UV_NO_INDEX=1 and PIP_NO_INDEX=1. Nothing needs cleaning up: the next run starts afresh."""


class SetupError(Exception):
    """The environment cannot be made; the message says what failed and what to do."""


def ensure(root=ROOT, extras=("dev",)):
    """Return the Python of a whole `.venv` under `root`, made or mended where need be."""
    venv = root / ".venv"
    base, version = find_python()
    recipe = describe(root, version, extras)
    if not is_whole(venv, recipe):
        with locked(root):
            if not is_whole(venv, recipe):
                build(venv, recipe, base)
    return python_of(venv)


def run(python, arguments, folder=None):
    """Run `python` in `folder` (default: the current one); return its exit code."""
    return subprocess.call([str(python), *arguments], cwd=folder and str(folder))


def guarded(main):
    """Run `main(arguments)`; tell a setup error without a traceback. Return the exit code."""
    try:
        return main(sys.argv[1:])
    except SetupError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command carries on from here.", file=sys.stderr)
        return 130


# Which Python


def find_python():
    """Return (command, "3.x") of this Python if it is supported, else of one on the PATH."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        # Inside an environment this is the Python it was made from: .venv may be about to go.
        base = getattr(sys, "_base_executable", None) or sys.executable
        return base, "{}.{}".format(*sys.version_info)
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        command = shutil.which(f"python3.{minor}")
        # pyenv and the Windows store leave commands that exist and do not run.
        if command and answers(command, "pass"):
            return command, f"3.{minor}"
    found = "{}.{}.{}".format(*sys.version_info)
    raise SetupError(
        f"Python {found} ({sys.executable}) is not supported; expected 3.{OLDEST[1]} to "
        f"3.{NEWEST[1]}, and none is on the PATH.\n  Cure: install Python 3.{NEWEST[1]} "
        f"and run: python3.{NEWEST[1]} {sys.argv[0]}"
    )


def answers(python, code):
    """Tell whether `python` starts and runs `code`."""
    try:
        with open(os.devnull, "w") as nowhere:
            return subprocess.call([str(python), "-I", "-c", code], stderr=nowhere) == 0
    except OSError:
        return False


def python_of(venv):
    """Return the path of an environment's Python on this system."""
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


# The stamp


def describe(root, version, extras):
    """Return what an environment is made from: place, Python and the lists of packages."""
    sources = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        sources.update((root / name).read_bytes())
    return {
        "root": str(root),
        "python": version,
        "extras": sorted(extras),
        "sources": sources.hexdigest(),
    }


def is_whole(venv, recipe):
    """Tell whether `venv` was finished from `recipe`, starts, and still holds what it held."""
    stamp = read_stamp(venv)
    return (
        stamp.get("state") == "made"
        and stamp.get("recipe") == recipe
        and set(stamp["installed"]) <= set(installed(venv))
        and answers(python_of(venv), "pass")
    )


def read_stamp(venv):
    """Return the stamp, or an empty one where there is none that can be read."""
    try:
        stamp = json.loads((venv / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv, stamp):
    """Write the stamp in one step: it is the old one or the new one, never half of one."""
    draft = venv / (STAMP + ".tmp")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(stamp, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(str(draft), str(venv / STAMP))


def installed(venv):
    """Return the names directly under site-packages that no upgrade of one package changes."""
    pattern = "Lib/site-packages/*" if os.name == "nt" else "lib/python*/site-packages/*"
    passing = ("__pycache__", ".dist-info")
    return sorted(path.name for path in venv.glob(pattern) if not path.name.endswith(passing))


# Building


def build(venv, recipe, base):
    """Make `venv`, or bring a whole one up to date when only the list of packages changed."""
    started = time.monotonic()
    warn_of_low_disk(venv.parent)
    if can_be_updated(venv, recipe):
        say("The list of packages has changed: bringing .venv up to date.")
        write_stamp(venv, {"state": "making"})
    else:
        say(f"Making {venv} with Python {recipe['python']}: several GB the first time.")
        make_empty(venv, base)
    install(venv, recipe["extras"])
    write_stamp(venv, {"state": "made", "recipe": recipe, "installed": installed(venv)})
    say(f"The environment is ready ({time.monotonic() - started:.0f} s).")


def can_be_updated(venv, recipe):
    """Tell whether `venv` is whole and of the same Python and place as `recipe` asks for."""
    stamp = read_stamp(venv)
    old = stamp.get("recipe") or {}
    same = all(old.get(key) == recipe[key] for key in ("root", "python"))
    return same and is_whole(venv, old)


def make_empty(venv, base):
    """Make an environment that holds pip alone, in place of what stands there."""
    if not answers(base, "import ensurepip, venv"):
        raise SetupError(
            f"{base} cannot make environments: its modules venv and ensurepip are missing.\n"
            "  Cure: install them (Debian, Ubuntu: apt install python3-venv; "
            "others: Python from python.org), then run the same command again."
        )
    clear(venv)
    venv.mkdir()
    write_stamp(venv, {"state": "making"})
    if not step("make an empty environment", [base, "-m", "venv", str(venv)]):
        raise SetupError(f"{base} -m venv failed; its reason stands above.")


def clear(venv):
    """Remove a broken or outdated `venv`; one that we did not make is moved aside instead."""
    doomed = venv.with_name(".venv.discarded")
    try:
        discard(doomed)
        if not os.path.lexists(str(venv)):
            return
        if venv.is_symlink():
            say(f"{venv} is a link to {os.path.realpath(str(venv))}: only the link is removed, and")
            say("the new .venv lies here. To have it elsewhere, move it and link to it again.")
            discard(venv)
            return
        if not read_stamp(venv) and any(venv.iterdir()):
            kept = venv.with_name(f".venv.yours-{int(time.time())}")
            say(f"{venv} was not made by this script: kept as {kept.name}.")
            venv.rename(kept)
            return
        say("The .venv here is half-made, moved or of another Python: making it again.")
        # Renamed first, so that a cut during the removal leaves no half of it under its name.
        venv.rename(doomed)
        discard(doomed)
    except OSError as error:
        raise SetupError(
            f"{venv} must be made again and cannot be removed: {error}\n"
            "  Cure: close the programs that use it, then run the same command again."
        ) from error


def discard(path):
    """Remove a folder that may be missing; of a link, the link alone and never what it leads to."""
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(str(path))


def install(venv, extras):
    """Install the project and what it needs with uv, and with pip where uv does not work."""
    python, root = str(python_of(venv)), venv.parent
    project = ["-c", str(root / "constraints.txt"), "-e", f"{root}[{','.join(extras)}]"]
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = [python, "-m", "uv", "pip", "install", "--python", python]
    if step("put uv into it", [*pip, "-q", "-c", str(root / "constraints.txt"), "uv"]):
        if step("install the packages with uv", [*uv, *project]):
            return
    say("uv did not work here: falling back to pip, which is slower.")
    if not step("install the packages with pip", [*pip, *project]):
        raise SetupError(f"the packages could not be installed.\n{NETWORK_CURE}")


def step(title, command):
    """Run one step in sight of the user, with the time it took. Tell whether it succeeded."""
    say(f"-> {title} ...")
    started = time.monotonic()
    environment = dict(os.environ)
    if "UV_DEFAULT_INDEX" not in environment and "UV_INDEX_URL" not in environment:
        if "PIP_INDEX_URL" in environment:
            environment["UV_DEFAULT_INDEX"] = environment["PIP_INDEX_URL"]
    # close_fds: a child that outlives us holds the lock until it is done with the folder.
    code = subprocess.call(command, env=environment, close_fds=False)
    outcome = "done" if code == 0 else f"failed with exit code {code}"
    say(f"   {outcome} ({time.monotonic() - started:.1f} s)")
    return code == 0


def warn_of_low_disk(root):
    """Say so when the disk may be too small for the packages."""
    free_gb = shutil.disk_usage(str(root)).free / 1e9
    if free_gb < ROOM_GB:
        say(f"Warning: {free_gb:.1f} GB are free at {root}; the packages may need {ROOM_GB} GB.")


@contextlib.contextmanager
def locked(root):
    """Hold the only right to build under `root`; wait for another run that holds it."""
    with (root / ".venv.lock").open("a") as file:
        os.set_inheritable(file.fileno(), True)
        if not try_lock(file):
            say("Another run is making .venv: waiting for it.")
            while not try_lock(file):
                time.sleep(0.2)
        yield


def try_lock(file):
    """Take the lock on an open file if it is free. The system drops it when the holder ends."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def say(text):
    """Print one line at once, so that it stands before what a child process prints."""
    print(text, flush=True)


def main(arguments):
    """Make the environment and nothing else."""
    if arguments:
        raise SetupError(f"environment.py takes no arguments, got {arguments}.")
    say(f"Ready: {ensure()}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
