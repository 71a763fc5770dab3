"""Lay a public data set out: `python3 scripts/prepare_dataset.py spleen SRC STUDIES`.

The same as `cobot prepare`; `--help` tells all.
"""

import sys

import environment


def main(arguments):
    """Make the environment if need be, then run `cobot prepare` with the same arguments."""
    return environment.run(environment.ensure(), ["-m", "cobot.cli.main", "prepare", *arguments])


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
