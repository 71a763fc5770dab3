"""Run the tests: `python3 scripts/test.py`, with any of pytest's arguments.

Without arguments the whole suite runs, files side by side in up to four processes.
"""

import os
import sys
import time

import environment

MOST_PROCESSES = 4
"""Each takes 2 GB and starts servers of its own."""


def main(arguments):
    """Make the environment if need be, then run pytest; no test at all counts as a failure."""
    python = environment.ensure()
    started = time.monotonic()
    code = environment.run(
        python, ["-m", "pytest", *(arguments or side_by_side())], environment.ROOT
    )
    environment.say(f"Tests: {time.monotonic() - started:.1f} s.")
    return code


def side_by_side():
    """A process for each core; a file's tests stay together, for they share what they make."""
    return ["-n", str(min(MOST_PROCESSES, os.cpu_count() or 1)), "--dist", "loadfile"]


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
