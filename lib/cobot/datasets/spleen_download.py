"""Fetch MSD Task09_Spleen where MONAI does, and unpack it."""

from pathlib import Path

from cobot.datasets.archive import unpack
from cobot.datasets.spleen import ROOT_NAME, SPLEEN_ARCHIVE, SPLEEN_MIRROR, SpleenLayout
from cobot.download import Progress, fetch
from cobot.published import Advice, Source

ADVICE = Advice(mirror="--mirror URL", folder="as SRC", by_hand="")


def download_spleen(folder: Path, mirror: str | None, progress: Progress) -> None:
    """Bring Task09_Spleen.tar into a folder and unpack it; killed and run again, it goes on.

    A data set that is unpacked and complete is not fetched again. The archive is kept.

    Args:
        folder: made if it does not exist; `Task09_Spleen` appears in it.
        mirror: address of a folder with the archive; None takes MONAI's.
        progress: told how many bytes are here.

    Raises:
        DownloadError: it cannot be fetched, or is not the published file.
        DatasetError: the archive would write outside the folder.
        ImageWriteError: the folder cannot be written.
    """
    if (folder / ROOT_NAME / "dataset.json").is_file() and not SpleenLayout().survey(
        folder
    ).missing:
        return
    source = Source(mirror or SPLEEN_MIRROR, advice=ADVICE)
    unpack(fetch(SPLEEN_ARCHIVE, folder, source, progress), folder)
