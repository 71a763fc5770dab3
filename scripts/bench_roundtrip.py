"""Real volumes through slices and back: `python scripts/bench_roundtrip.py DATA_DIR`.

Every image is read, cut into all slices of each of the three planes, stacked, written and read
again: voxels and affine must be equal, bit for bit. A DICOM series is also laid against a NIfTI
label map of the same patient. DATA_DIR holds chaos_mr/, msd_spleen/ and totalseg/. Ends with 1
if anything differs.
"""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from cobot.geometry import axis_codes, ijk_from_ras, ras_from_ijk
from cobot.io import read_label_map, read_volume, write_label_map
from cobot.planes import plane_across
from cobot.slicing import slice_volume, stack_masks
from cobot.volume import LabelMap, Volume
from rich.console import Console
from rich.table import Table

SAME_PLACE_MM = 1e-3
"""Grids that agree to a micrometre are one grid."""

TEST_LABELS = 251
"""Prime, so that label values are spread over every row and slice."""


@dataclass(frozen=True)
class RoundTrip:
    """What became of one volume.

    Attributes:
        slices: number of slices cut, all planes together.
        voxels_equal: the mask came back on the same voxels from every plane and from the file.
        affine_equal: the affine of the written file is the image's, bit by bit.
        seconds: for reading, cutting and stacking, writing and reading again.
    """

    slices: int
    voxels_equal: bool
    affine_equal: bool
    seconds: float


def main(data_dir: Annotated[Path, typer.Argument(exists=True, file_okay=False)]) -> None:
    """Check every image and the DICOM series; end with 1 if anything differs."""
    console = Console()
    images = sorted(data_dir.glob("chaos_mr/image_*.nii.gz"))
    images += sorted(data_dir.glob("msd_spleen/image_*.nii.gz"))
    images.append(data_dir / "totalseg" / "example_ct_dicom")
    ok = check_round_trips(console, images)
    ok &= check_dicom_grid(
        console,
        read_volume(data_dir / "totalseg" / "example_ct_dicom"),
        read_label_map(data_dir / "totalseg" / "example_seg_dicom.nii.gz"),
    )
    raise typer.Exit(code=0 if ok else 1)


def check_round_trips(console: Console, images: list[Path]) -> bool:
    """Print a table of all round trips; return whether all were exact."""
    columns = ("image", "shape", "axes", "slices", "voxels equal", "affine bit-equal", "seconds")
    table = Table(*columns, title="read, slice in three planes, stack, write, read")
    ok = True
    for path in images:
        volume = read_volume(path)
        result = round_trip(path)
        table.add_row(
            f"{path.parent.name}/{path.name}",
            "x".join(map(str, volume.shape)),
            axis_codes(volume.affine),
            str(result.slices),
            "yes" if result.voxels_equal else "NO",
            "yes" if result.affine_equal else "NO",
            f"{result.seconds:.2f}",
        )
        ok &= result.voxels_equal and result.affine_equal
    console.print(table)
    return ok


def round_trip(path: Path) -> RoundTrip:
    """Send a label map that names every voxel's place through slices and a file.

    A DICOM series has no NIfTI header to copy; its mask is written as NRRD, in float64.
    """
    started = time.perf_counter()
    volume = read_volume(path)
    truth = (np.arange(volume.voxels.size) % TEST_LABELS).astype(np.uint8).reshape(volume.shape)
    labels = {value: f"test {value}" for value in range(1, TEST_LABELS)}
    stacked = [stacked_in_plane(volume, truth, axis, labels) for axis in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / ("mask.nrrd" if path.is_dir() else "mask.nii.gz")
        write_label_map(stacked[2], written, like=path)
        again = read_label_map(written)
    return RoundTrip(
        slices=sum(volume.shape),
        voxels_equal=all(np.array_equal(truth, mask.voxels) for mask in [*stacked, again]),
        affine_equal=again.affine.tobytes() == volume.affine.tobytes(),
        seconds=time.perf_counter() - started,
    )


def stacked_in_plane(
    volume: Volume, truth: np.ndarray, axis: int, labels: dict[int, str]
) -> LabelMap:
    """Cut `truth` (i j k) into pictures across `axis` and stack them again."""
    plane = plane_across(volume.affine, axis)
    masks = {cut.index: cut.pixels for cut in slice_volume(volume.with_voxels(truth), plane)}
    return stack_masks(masks, plane, like=volume, labels=labels)


def check_dicom_grid(console: Console, image: Volume, labels: LabelMap) -> bool:
    """Lay a label map of the same patient on a DICOM series; return whether the grids are one.

    The two may store their axes in another order and direction; they are compared by where each
    voxel centre lies in the patient.
    """
    everywhere = np.stack(np.meshgrid(*map(np.arange, labels.voxels.shape), indexing="ij"), -1)
    ijk = everywhere.reshape(-1, 3)
    ras_mm = ras_from_ijk(labels.affine, ijk)
    found = np.rint(ijk_from_ras(image.affine, ras_mm)).astype(np.int64)
    off_mm = float(np.abs(ras_from_ijk(image.affine, found) - ras_mm).max())
    inside = ((found >= 0) & (found < image.shape)).all()
    onto = bool(inside) and len(np.unique(np.ravel_multi_index(found.T, image.shape))) == len(ijk)

    table = Table("", "DICOM series", "NIfTI labels", title="one patient, two files")
    table.add_row("shape", str(image.shape), str(labels.voxels.shape))
    table.add_row("axes", axis_codes(image.affine), axis_codes(labels.affine))
    for name, matrix in (("first voxel, RAS mm", 3), ("step along k, mm", 2)):
        table.add_row(name, *(str(m[:3, matrix].tolist()) for m in (image.affine, labels.affine)))
    console.print(table)
    console.print(f"voxel centres differ by at most {off_mm:.2e} mm; one to one: {onto}")
    if onto:
        console.print(median_hu_table(image, labels, found))
    return onto and off_mm < SAME_PLACE_MM


def median_hu_table(image: Volume, labels: LabelMap, found: np.ndarray) -> Table:
    """Median HU under the largest labels: a flip would mix tissues and air."""
    hu = image.voxels[tuple(found.T)].reshape(labels.voxels.shape)
    values, counts = np.unique(labels.voxels[labels.voxels > 0], return_counts=True)
    table = Table("label", "voxels", "median HU", "5 % to 95 % HU", title="CT under the labels")
    for value, count in sorted(zip(values, counts, strict=True), key=lambda row: -row[1])[:8]:
        low, median, high = np.percentile(hu[labels.voxels == value], [5, 50, 95])
        table.add_row(
            labels.labels[int(value)], str(count), f"{median:.0f}", f"{low:.0f} to {high:.0f}"
        )
    return table


if __name__ == "__main__":
    typer.run(main)
