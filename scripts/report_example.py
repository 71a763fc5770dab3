"""A batch of phantoms with its report, as docs/report.png shows it: no data is needed.

    python scripts/report_example.py out/report_example

Six abdomens are segmented from boxes. For two of them the boxes come from moved masks, so that
their answers are poor; one image ends within the organs; a seventh has no mask to take boxes
from, and fails.
"""

import argparse
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
from cobot.datasets.phantom import abdomen_phantom
from cobot.io import write_label_map

SHAPE, SPACING_MM = (160, 128, 20), (2.4, 2.4, 8.0)
SHOWN = {1: "liver", 2: "spleen", 3: "right kidney", 4: "left kidney"}
MOVED_CASES, MOVED_VOXELS = (2, 4), 12
CUT_CASE, CUT_SLICES = 5, 12


def main() -> None:
    """Write the phantoms, segment them, and write the report with the truth beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="a folder; made if missing")
    out = parser.parse_args().out
    for folder in ("images", "truth", "coarse"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for number in range(1, 7):
        write_case(out, number)
    shutil.copyfile(out / "images" / "phantom_1.nii.gz", out / "images" / "phantom_7.nii.gz")
    cobot = [sys.executable, "-m", "cobot.cli.main"]
    boxes = ["--prompts-from", str(out / "coarse")]
    # Its exit code says that one file failed; that is meant.
    subprocess.run([*cobot, "segment", str(out / "images"), "-o", str(out / "batch"), *boxes])
    subprocess.run(
        [*cobot, "report", str(out / "batch"), "--truth", str(out / "truth")], check=True
    )


def write_case(out: Path, number: int) -> None:
    """Write image, truth, and the mask that boxes are taken from."""
    phantom = abdomen_phantom(number, SHAPE, SPACING_MM)
    slices = CUT_SLICES if number == CUT_CASE else SHAPE[2]
    image, affine = phantom.volume.voxels[:, :, :slices], phantom.volume.affine
    voxels = phantom.truth.voxels[:, :, :slices]
    truth = replace(
        phantom.truth, voxels=np.where(np.isin(voxels, list(SHOWN)), voxels, 0), labels=SHOWN
    )
    moved = np.roll(truth.voxels, MOVED_VOXELS if number in MOVED_CASES else 0, axis=0)
    name = f"phantom_{number}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(image, affine), out / "images" / name)
    write_label_map(truth, out / "truth" / name)
    write_label_map(replace(truth, voxels=moved), out / "coarse" / name)


if __name__ == "__main__":
    main()
