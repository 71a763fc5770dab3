"""Where the figures of an evaluation go, and what is said if there are none."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from cobot.cli.demo_case import make_folder
from cobot.errors import ConfigError, ImageWriteError
from cobot.io import read_label_map


def make_results_folder(out: Path) -> None:
    """Make a folder and write to it, or hours of measuring could end in nothing.

    Raises:
        ImageWriteError: it cannot be made, or not be written to.
    """
    make_folder(out)
    try:
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise ImageWriteError(
            f"--out {out} cannot be written to: {error.strerror}. Name a folder you may write to, "
            "with space left."
        ) from error


def nothing_measured(files: Sequence[tuple[Path, Path]], labels: str) -> ConfigError:
    """The refusal where no case holds a structure that was asked for.

    Args:
        files: image and label of each case.
        labels: as the user wrote them.
    """
    example = files[0][1]
    held = ", ".join(f"{value}={name}" for value, name in read_label_map(example).labels.items())
    asked = f"one of --labels {labels}" if labels else "a labelled voxel"
    return ConfigError(
        f"None of {len(files)} cases holds {asked}, so nothing was measured; {example} holds "
        f"{held or 'no label'}. Name structures as the label files do, or their values."
    )
