"""Run the tests: `python3 scripts/test.py`, with any of pytest's arguments."""

import sys
import time

import environment


def main(arguments):
    """Make the environment if need be, then run pytest; no test at all counts as a failure."""
    python = environment.ensure()
    started = time.monotonic()
    code = environment.run(python, ["-m", "pytest", *arguments], environment.ROOT)
    environment.say(f"Tests: {time.monotonic() - started:.1f} s.")
    return code


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
