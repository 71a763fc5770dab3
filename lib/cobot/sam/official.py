"""The weights Meta published with segment_anything (Apache-2.0), and how to know them."""

import os
from collections.abc import Mapping

from cobot.errors import ConfigError
from cobot.published import Advice, PublishedFile, Source

OFFICIAL_MIRROR = "https://dl.fbaipublicfiles.com/segment_anything/"
MIRROR_VARIABLE = "COBOT_MIRROR"


OFFICIAL: Mapping[str, PublishedFile] = {
    "vit_b": PublishedFile(
        "sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": PublishedFile(
        "sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": PublishedFile(
        "sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}


def official_file(name: str) -> PublishedFile:
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


def weights_source(mirror: str | None) -> Source:
    """The mirror given by the user, else that of COBOT_MIRROR, else Meta's own.

    Raises:
        ConfigError: it is no http or https address.
    """
    chosen = mirror or os.environ.get(MIRROR_VARIABLE) or OFFICIAL_MIRROR
    return Source(chosen, advice=Advice(mirror=f"--mirror URL or {MIRROR_VARIABLE}"))
