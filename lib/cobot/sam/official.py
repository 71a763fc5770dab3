"""The weights Meta published with segment_anything (Apache-2.0), and how to know them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from cobot.errors import ConfigError

OFFICIAL_MIRROR = "https://dl.fbaipublicfiles.com/segment_anything/"
MIRROR_VARIABLE = "COBOT_MIRROR"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One published file.

    Attributes:
        file_name: as published; also its name on disk.
        size_bytes: its length.
        sha256: its checksum, in hex.
    """

    file_name: str
    size_bytes: int
    sha256: str


OFFICIAL: Mapping[str, WeightsFile] = {
    "vit_b": WeightsFile(
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": WeightsFile(
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": WeightsFile(
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}


def official_file(name: str) -> WeightsFile:
    """The published file of an encoder.

    Raises:
        ConfigError: Meta published none for this name.
    """
    if name not in OFFICIAL:
        raise ConfigError(
            f"There are no weights of {name!r} to fetch; expected one of {', '.join(OFFICIAL)}. "
            "`tiny` comes with this package."
        )
    return OFFICIAL[name]


@dataclass(frozen=True, slots=True)
class Source:
    """Where to fetch from and how stubbornly.

    Attributes:
        mirror: address of the folder that holds the published files, http or https.
        tries: how often in a row the connection may fail without a byte of progress.
        pause_s: wait before the second try; doubled before each further one.
        timeout_s: silence after which a connection counts as broken.
    """

    mirror: str = OFFICIAL_MIRROR
    tries: int = 5
    pause_s: float = 1.0
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if not self.mirror.startswith(("http://", "https://")):
            raise ConfigError(
                f"The mirror must be an http:// or https:// address, got {self.mirror!r}."
            )

    @classmethod
    def chosen(cls, mirror: str | None) -> "Source":
        """The mirror given by the user, else that of COBOT_MIRROR, else Meta's own."""
        return cls(mirror or os.environ.get(MIRROR_VARIABLE) or OFFICIAL_MIRROR)

    def address(self, wanted: WeightsFile) -> str:
        """Where one file is."""
        return f"{self.mirror.rstrip('/')}/{wanted.file_name}"
