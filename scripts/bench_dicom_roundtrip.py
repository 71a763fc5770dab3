"""A DICOM series in; NIfTI, DICOM SEG and RTSTRUCT out; read back by others, voxel for voxel.

    python scripts/bench_dicom_roundtrip.py SERIES_DIR TRUTH.nii.gz --markdown table.md

TRUTH gives boxes to segment from with `tiny`, and, as it is, a second label map with more and
smaller structures. The readers are not ours: highdicom by instance, pydicom-seg by position,
rt-utils, and polygons filled by matplotlib in patient millimetres. All are held against the NIfTI
file as SimpleITK reads it. Ends with 1 where a voxel differs.
"""

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pydicom
import typer
from bench_dicom_readers import (
    highdicom_voxels,
    polygon_voxels,
    pydicom_seg_voxels,
    rt_utils_voxels,
    simpleitk_voxels,
)
from cobot.atomic import atomic_path
from cobot.intensity import PRESETS
from cobot.io import read_dicom_files, read_label_map, scan_series, write_label_map
from cobot.io.dicom_algorithm import Algorithm
from cobot.io.dicom_seg import write_dicom_seg
from cobot.io.rtstruct import write_rtstruct
from cobot.pipeline import segment_volume
from cobot.planes import acquired_plane
from cobot.prompts import VolumePrompts
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter
from cobot.sam.weights import default_weights_path, load_sam
from cobot.training.boxes import organ_box
from cobot.volume import LabelMap, Volume
from rich.console import Console

PROMPTED = ("spleen", "liver", "stomach", "aorta", "colon", "spinal_cord")


@dataclass(frozen=True, slots=True)
class Row:
    """One label map through one format and one reader.

    Attributes:
        what: the label map.
        reader: file format and who read it.
        voxels: of all labels in the NIfTI file.
        different: voxels whose label differs.
        kib: size of the file.
    """

    what: str
    reader: str
    voxels: int
    different: int
    kib: float


def main(
    series: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    truth: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    markdown: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Write each label map in each format, read it with each reader, and count the differences."""
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = complete_copy(series, Path(scratch))
        (found,) = scan_series(folder).series
        volume = read_dicom_files(found.paths)
        drawn = truth_on(volume, truth)
        maps = {"tiny, one box a structure": segmented(volume, drawn), "all labels of TRUTH": drawn}
        rows, verdicts = [], {}
        for what, label_map in maps.items():
            here = Path(scratch) / f"out{len(verdicts)}"
            here.mkdir()
            rows += round_trip(what, label_map, found.paths, here)
            verdicts[what] = {name: checked(here / name) for name in ("seg.dcm", "rtstruct.dcm")}
        text = table(rows, maps, verdicts)
    console.print(text, markup=False)
    if markdown is not None:
        with atomic_path(markdown) as partial:
            partial.write_text(text, encoding="utf-8")
    raise typer.Exit(any(row.different for row in rows))


def complete_copy(series: Path, scratch: Path) -> Path:
    """The series with the UIDs that de-identification emptied: rt-utils looks slices up by them."""
    copy = scratch / "series"
    shutil.copytree(series, copy)
    for file in copy.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
        dataset.StudyInstanceUID = dataset.StudyInstanceUID or "1.2.3.4"
        dataset.SeriesInstanceUID = dataset.SeriesInstanceUID or "1.2.3.5"
        dataset.save_as(file)
    return copy


def truth_on(volume: Volume, truth: Path) -> LabelMap:
    """The label map on the grid of the series; values without a name get one."""
    turned = read_label_map(truth).on_grid_of(volume)
    values = np.unique(turned.voxels[turned.voxels > 0]).tolist()
    labels = {value: turned.labels.get(value, f"label_{value}") for value in values}
    return LabelMap(turned.voxels, volume.affine, labels)


def segmented(volume: Volume, drawn: LabelMap) -> LabelMap:
    """What `tiny` makes of one box for each structure."""
    segmenter = SliceSegmenter(
        load_sam("tiny", default_weights_path("tiny")), "cpu", SegmenterOptions()
    )
    boxes = tuple(organ_box(drawn, name) for name in PROMPTED if name in drawn.labels.values())
    prompts = VolumePrompts(acquired_plane(volume.affine), boxes)
    window = PRESETS["abdomen"].resolve(volume)
    return segment_volume(volume, prompts, segmenter, window).label_map


def round_trip(what: str, label_map: LabelMap, source: tuple[Path, ...], here: Path) -> list[Row]:
    """Write three files and read them with five readers."""
    algorithm = Algorithm(adapter="")
    write_label_map(label_map, here / "mask.nii.gz")
    write_dicom_seg(label_map, source, here / "seg.dcm", algorithm)
    write_rtstruct(label_map, source, here / "rtstruct.dcm", algorithm)
    expected = simpleitk_voxels(here / "mask.nii.gz")
    files = {"nifti": "mask.nii.gz", "seg": "seg.dcm", "rt": "rtstruct.dcm"}
    readers: Mapping[tuple[str, str], Callable[[], np.ndarray]] = {
        ("nifti", "NIfTI, SimpleITK against the map in memory"): lambda: label_map.voxels,
        ("seg", "DICOM SEG, highdicom by instance"): lambda: highdicom_voxels(
            here / "seg.dcm", source, label_map
        ),
        ("seg", "DICOM SEG, pydicom-seg by position"): lambda: pydicom_seg_voxels(
            here / "seg.dcm", label_map
        ),
        ("rt", "RTSTRUCT, pixel centres in polygons"): lambda: polygon_voxels(
            here / "rtstruct.dcm", label_map
        ),
        ("rt", "RTSTRUCT, rt-utils"): lambda: rt_utils_voxels(
            here / "rtstruct.dcm", source[0].parent, label_map
        ),
    }
    return [
        Row(
            what,
            reader,
            int(np.count_nonzero(expected)),
            int(np.count_nonzero(read() != expected)),
            (here / files[kind]).stat().st_size / 1024,
        )
        for (kind, reader), read in readers.items()
    ]


def checked(file: Path) -> str:
    """How many errors and warnings dicom3tools has, if it is installed."""
    if shutil.which("dciodvfy") is None:
        return "dciodvfy is not installed"
    done = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    errors = [line for line in lines if line.startswith("Error")]
    # De-identified files lack what a DICOMDIR would need; that is the images' own.
    warned = [line for line in lines if line.startswith("Warning") and "DICOMDIR" not in line]
    return f"{len(errors)} errors, {len(warned)} warnings"


def table(
    rows: list[Row], maps: Mapping[str, LabelMap], verdicts: dict[str, dict[str, str]]
) -> str:
    """The rows in Markdown, and dciodvfy's verdicts."""
    lines = [
        "| label map | format, reader | voxels | different | KiB |",
        "|---|---|---:|---:|---:|",
    ]
    lines += [
        f"| {row.what} ({len(maps[row.what].labels)} labels) | {row.reader} | {row.voxels} | "
        f"{row.different} | {row.kib:.0f} |"
        for row in rows
    ]
    lines += ["", "dciodvfy:"]
    lines += [
        f"- {what}, {name}: {verdict}"
        for what, found in verdicts.items()
        for name, verdict in found.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # pydicom warns of every value of these de-identified files that bends the standard.
    warnings.simplefilter("ignore")
    typer.run(main)
