"""Download SAM's published weights: `python3 scripts/fetch_sam.py vit_b`.

The same as `cobot fetch`; `--help` tells all.
"""

import sys

import environment


def main(arguments):
    """Make the environment if need be, then run `cobot fetch` with the same arguments."""
    return environment.run(environment.ensure(), ["-m", "cobot.cli.main", "fetch", *arguments])


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
