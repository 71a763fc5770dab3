"""Decoded slices on disk, one folder a case: a volume is decompressed once, not once a slice."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from cobot.atomic import atomic_folder
from cobot.checksum import file_checksum
from cobot.datasets.plain_names import plain_name
from cobot.errors import GridMismatchError, WindowError
from cobot.intensity import IntensityWindow
from cobot.io import read_volume
from cobot.planes import Plane
from cobot.shapes import LabelVoxels, Pixels
from cobot.training.corrections import Correction
from cobot.training.label_values import read_task_labels
from cobot.training.slice_choice import AbsentObject, ChosenSlice, choose_slices
from cobot.training.task import TrainingTask
from cobot.volume import Volume

CACHE_BYTES = 20 * 2**30
"""Some 100 CT scans at full resolution, of which half the slices carry a label."""

_FORMAT = 2
_META, _PIXELS, _LABELS = "case.json", "pixels.npy", "labels.npy"
_GONE = ".gone-"


@dataclass(frozen=True, slots=True)
class CaseIndex:
    """What is known of a case without its pixels.

    Attributes:
        case: its name.
        image_sha256: of the image file.
        plane: how it is cut.
        spacing_mm: of its slices, down the rows and along the columns.
        windows: window as the task writes it, to black and white for this volume.
        slices: to train on, in order.
    """

    case: str
    image_sha256: str
    plane: Plane
    spacing_mm: tuple[float, float]
    windows: Mapping[str, IntensityWindow]
    slices: tuple[ChosenSlice, ...]

    @property
    def drawn(self) -> frozenset[int]:
        """Values of the structures that the case has."""
        return frozenset(value for one in self.slices for value in one.present)


@final
class SliceCache:
    """Slices of corrected volumes under a byte limit; reading one touches that slice alone.

    The least recently used cases go when a new one would exceed the limit; they are decoded again
    when asked for, so a limit below the data set's size costs time, never a result. The folder may
    be shared by processes.
    """

    def __init__(
        self,
        folder: Path,
        task: TrainingTask,
        negative_ratio: float = 0.0,
        limit_bytes: int = CACHE_BYTES,
    ) -> None:
        """Keep up to `limit_bytes` in a folder, made when first written to.

        The negative ratio is as in `choose_slices`.
        """
        self._folder = folder
        self._task = task
        self._negative_ratio = negative_ratio
        self._limit_bytes = limit_bytes
        self._keys: dict[Correction, tuple[str, str]] = {}

    def index(self, correction: Correction) -> CaseIndex:
        """What is known of a case; decodes it if it is not in the cache.

        Raises:
            CobotError: a file cannot be read, grids differ, or labels do not fit the task.
        """
        try:
            return _read_index(self._decoded(correction))
        except FileNotFoundError:
            # Another process made room between looking and reading.
            return _read_index(self._decoded(correction))

    def pictures(self, correction: Correction, rank: int) -> tuple[Pixels, Pixels]:
        """Pixels and label values of slice number `rank` of a case's chosen ones."""
        try:
            return _read_pictures(self._decoded(correction), rank)
        except FileNotFoundError:
            return _read_pictures(self._decoded(correction), rank)

    def _decoded(self, correction: Correction) -> Path:
        """The case's folder in the cache, filled."""
        image_sha256, labels_sha256 = self.checksums(correction)
        made_of = [_FORMAT, image_sha256, labels_sha256, self._task.to_dict(), correction.case]
        text = json.dumps([*made_of, self._negative_ratio])
        folder = self._folder / hashlib.sha256(text.encode()).hexdigest()[:32]
        if _is_whole(folder):
            with suppress(OSError):
                os.utime(folder)
            return folder
        # What is left of a case whose removal was cut off.
        _remove(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        # Another process may have finished the same case meanwhile.
        with suppress(FileExistsError):
            _write_case(folder, *self._decode(correction, image_sha256))
        self._make_room(folder)
        return folder

    def _decode(
        self, correction: Correction, image_sha256: str
    ) -> tuple[CaseIndex, Volume, LabelVoxels]:
        """Read a case's files and choose its slices.

        Raises:
            CobotError: as `index`; the message names the case.
        """
        try:
            return self._read_case(correction, image_sha256)
        except (GridMismatchError, WindowError) as error:
            raise type(error)(f"Case {correction.case!r}: {error}") from error

    def _read_case(
        self, correction: Correction, image_sha256: str
    ) -> tuple[CaseIndex, Volume, LabelVoxels]:
        volume, task = read_volume(correction.image), self._task
        truth = read_task_labels(
            correction.corrected, task.labels, volume, dict(correction.names) or None
        )
        prediction = None
        if correction.prediction is not None:
            prediction = self._claimed(
                correction,
                read_task_labels(correction.prediction, task.labels, volume, may_lack=True),
            )
        plane, spacing = task.plane(volume.affine), volume.spacing_mm
        index = CaseIndex(
            case=correction.case,
            image_sha256=image_sha256,
            plane=plane,
            spacing_mm=(spacing[plane.row_axis], spacing[plane.col_axis]),
            windows=task.resolve_windows(volume),
            slices=tuple(choose_slices(truth, prediction, plane, self._negative_ratio)),
        )
        return index, volume, truth

    def _claimed(self, correction: Correction, prediction: LabelVoxels) -> LabelVoxels:
        """What was predicted of the structures that the correction is about.

        Of any other the correction says nothing: it may be there, only nobody drew it.
        """
        if not correction.names:
            return prediction
        claimed = {plain_name(name) for _, name in correction.names}
        values = [value for value, name in self._task.labels.items() if plain_name(name) in claimed]
        return np.where(np.isin(prediction, values), prediction, 0).astype(prediction.dtype)

    def checksums(self, correction: Correction) -> tuple[str, str]:
        """Of the image, and of its labels (files and names) together; computed once."""
        if correction not in self._keys:
            labels = [path for path in (correction.corrected, correction.prediction) if path]
            parts = [file_checksum(path, "sha256") for path in labels]
            parts += [f"{value}={name}" for value, name in correction.names]
            joined = "|".join(parts)
            self._keys[correction] = file_checksum(correction.image, "sha256"), joined
        return self._keys[correction]

    def _make_room(self, newest: Path) -> None:
        """Remove the least recently used cases until the limit is kept; the newest stays."""
        cases = sorted(
            ((_mtime(path), path) for path in self._folder.iterdir() if path.is_dir()),
            reverse=True,
        )
        used = _bytes_of(newest)
        for _, path in cases:
            if path.name.startswith(_GONE):
                shutil.rmtree(path, ignore_errors=True)
            elif path != newest and not path.name.startswith("."):
                used += _bytes_of(path)
                if used > self._limit_bytes:
                    _remove(path)


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (_META, _PIXELS, _LABELS))


def _remove(folder: Path) -> None:
    """Take a case's folder away: it is there or not, and nobody reads half of it."""
    gone = folder.with_name(f"{_GONE}{folder.name}")
    with suppress(OSError):
        folder.replace(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _write_case(folder: Path, index: CaseIndex, volume: Volume, truth: LabelVoxels) -> None:
    """Write a case's folder, whole or not at all."""
    with atomic_folder(folder) as temporary:
        for name, voxels in ((_PIXELS, volume.voxels), (_LABELS, truth)):
            pictures = [index.plane.picture(voxels, one.index) for one in index.slices]
            empty = np.zeros((0, 1, 1), voxels.dtype)
            np.save(temporary / name, np.stack(pictures) if pictures else empty)
        (temporary / _META).write_text(json.dumps(asdict(index)), encoding="utf-8")


def _read_pictures(folder: Path, rank: int) -> tuple[Pixels, Pixels]:
    """Copies of one slice; the rest of the files stays on the disk."""
    pixels = np.load(folder / _PIXELS, mmap_mode="r")[rank]
    labels = np.load(folder / _LABELS, mmap_mode="r")[rank]
    return np.array(pixels), np.array(labels)


def _read_index(folder: Path) -> CaseIndex:
    values = json.loads((folder / _META).read_text(encoding="utf-8"))
    row_mm, col_mm = values["spacing_mm"]
    return CaseIndex(
        case=values["case"],
        image_sha256=values["image_sha256"],
        plane=Plane(**values["plane"]),
        spacing_mm=(row_mm, col_mm),
        windows={text: IntensityWindow(**window) for text, window in values["windows"].items()},
        slices=tuple(_chosen(entries) for entries in values["slices"]),
    )


def _chosen(values: Mapping[str, Any]) -> ChosenSlice:
    absent = [AbsentObject(one["value"], tuple(one["box_xyxy"])) for one in values["absent"]]
    return ChosenSlice(values["index"], tuple(values["present"]), tuple(absent))


def _bytes_of(folder: Path) -> int:
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    with suppress(OSError):
        for path in folder.iterdir():
            yield path.stat().st_size


def _mtime(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
