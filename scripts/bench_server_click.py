"""A real client against the real server: one click, one box, both, on the largest slice.

    python scripts/bench_server_click.py image.nii.gz label.nii.gz --value 1 --label spleen

Starts `cobot serve` on a free port with the image's folder as studies, asks it as 3D Slicer does,
and prints the Dice on that slice beside the trivial answer (ellipse filling the box) and the time.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from cobot.prompts import tight_box
from cobot.training.baseline import ellipse_in_box
from cobot.training.clicks import centre_click
from cobot.training.evaluate import dice

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from monailabel.client import MONAILabelClient


def main() -> None:
    """Ask four times and print a table."""
    options = read_options()
    truth = np.asarray(nib.load(options.truth).dataobj) == options.value
    k = int(truth.sum(axis=(0, 1)).argmax())
    on_slice = truth[:, :, k]
    click = centre_click(on_slice)
    box = tight_box(on_slice)
    (j0, i0), (j1, i1) = (map(int, corner) for corner in box.reshape(2, 2))
    here = [int(click.y_px), int(click.x_px), k]
    roi = [i1, i0, j1, j0, k, k]
    asked = {
        "click": {"foreground": [here]},
        "click again (cached)": {"foreground": [here]},
        "box": {"roi": roi},
        "click and box": {"foreground": [here], "roi": roi},
    }
    print(f"{options.image.name}: {options.label}, slice k={k}, {int(on_slice.sum())} voxels")
    print(f"{'prompt':22} {'Dice':>6}  {'s, client':>9}  seconds in the server")
    with tempfile.TemporaryDirectory() as folder, server(options.image.parent) as address:
        client = MONAILabelClient(address, tmpdir=folder)
        for name, prompt in asked.items():
            found, seconds, report = ask(client, options, {**prompt, "slice": k})
            outside = found.sum() - found[:, :, k].sum()
            if outside:
                sys.exit(f"{int(outside)} voxels outside slice {k}")
            score = dice(found[:, :, k], on_slice)
            print(f"{name:22} {score:6.3f}  {seconds:9.2f}  {json.dumps(report['latencies'])}")
    ellipse = dice(ellipse_in_box(box, on_slice.shape), on_slice)
    print(f"{'ellipse in that box':22} {ellipse:6.3f}")


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="in a folder of its own or of other studies")
    parser.add_argument("truth", type=Path, help="labels on the image's grid")
    parser.add_argument("--value", type=int, default=1, help="of the structure in the labels")
    parser.add_argument("--label", default="spleen")
    return parser.parse_args()


def ask(
    client: MONAILabelClient, options: argparse.Namespace, prompt: dict[str, object]
) -> tuple[np.ndarray, float, dict[str, dict[str, float]]]:
    """One request: the mask, the seconds the client waited, and what the server reports."""
    request = {"label": options.label, "result_extension": ".nii.gz", **prompt}
    image = options.image.name.removesuffix(".gz").removesuffix(".nii")
    start = time.perf_counter()
    file, report = client.infer("sam_2d", image, request)
    seconds = time.perf_counter() - start
    found = nib.load(file)
    if not np.array_equal(found.affine, nib.load(options.image).affine):
        sys.exit("The mask is not on the image's grid.")
    return np.asarray(found.dataobj) > 0, seconds, report


@contextmanager
def server(studies: Path, options: Sequence[str] = ()) -> Iterator[str]:
    """Run `cobot serve`, with more of its options if given, until the block ends; its address."""
    command = [sys.executable, "-m", "cobot.cli.main", "serve", "--studies", str(studies), *options]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield next(
            found.group()
            for line in process.stdout or ()
            if (found := re.search(r"http://127\.0\.0\.1:\d+", line))
        )
    finally:
        process.terminate()
        process.wait(30)


if __name__ == "__main__":
    main()
