"""Check everything a merge needs: `python3 scripts/check.py` (`--no-tests` leaves pytest out)."""

import sys
import time

import environment

CHECKS = {
    "ruff format": ["ruff", "format", "--check", "."],
    "ruff check": ["ruff", "check", "."],
    "mypy": ["mypy", "-p", "cobot"],
    "pytest": ["pytest"],
}


def main(arguments):
    """Run every check, also after one has failed; return 1 if any did."""
    if arguments not in ([], ["--no-tests"]):
        raise environment.SetupError(f"check.py takes --no-tests or nothing, got {arguments}.")
    chosen = [name for name in CHECKS if not (arguments and name == "pytest")]
    python = environment.ensure()
    results = [(name, *timed(python, CHECKS[name])) for name in chosen]
    environment.say("\nSummary")
    for name, code, seconds in results:
        environment.say(f"  {'ok    ' if code == 0 else 'FAILED'}  {name:12} {seconds:6.1f} s")
    return int(any(code for _, code, _ in results))


def timed(python, command):
    """Run one tool from the environment; return its exit code and the seconds it took."""
    environment.say(f"\n== {' '.join(command)}")
    started = time.monotonic()
    code = environment.run(python, ["-m", *command], environment.ROOT)
    return code, time.monotonic() - started


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
