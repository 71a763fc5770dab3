"""Write phantom volumes with their truth, as pairs that `cobot evaluate` and `cobot train` read.

python scripts/make_phantoms.py OUT --count 6 --seed 1000
"""

import argparse
from pathlib import Path

from cobot.datasets.phantom import abdomen_phantom
from cobot.datasets.phantom_head_neck import head_neck_phantom
from cobot.io import write_label_map
from cobot.io.image_writer import write_volume


def main() -> None:
    """Half abdomens, half heads and necks, each kind in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=6, help="of each kind")
    parser.add_argument("--seed", type=int, default=1000, help="of the first; the next is one more")
    options = parser.parse_args()
    for kind, make in (("abdomen", abdomen_phantom), ("head_neck", head_neck_phantom)):
        folder = options.out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(options.seed, options.seed + options.count):
            phantom = make(seed)
            image = folder / f"image_{seed}.nii.gz"
            write_volume(phantom.volume, image)
            write_label_map(phantom.truth, folder / f"label_{seed}.nii.gz", image)
        print(f"{options.count} phantoms in {folder}")


if __name__ == "__main__":
    main()
