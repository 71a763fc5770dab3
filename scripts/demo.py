"""Show the main job on a phantom CT, offline: `python3 scripts/demo.py`.

`--image FILE --box ...` does the same on your own volume; `--help` tells all.
"""

import sys

import environment


def main(arguments):
    """Make the environment if need be, then run `cobot demo` with the same arguments."""
    return environment.run(environment.ensure(), ["-m", "cobot.cli.main", "demo", *arguments])


if __name__ == "__main__":
    sys.exit(environment.guarded(main))
