"""Segment a folder of images: `python3 scripts/segment_nifti.py STUDIES -o OUT --prompts FILE`.

The same as `cobot segment`; `--help` tells all.
"""

import sys

import environment


def main(arguments):
    """Make the environment if need be, then run `cobot segment` with the same arguments."""
    return environment.run(environment.ensure(), ["-m", "cobot.cli.main", "segment", *arguments])


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
