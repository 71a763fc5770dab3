"""SegRap2023: 45 organs at risk and 2 gross tumour volumes, on CT without and with contrast.

Structures overlap: the brain holds the hippocampus, the eye its lens, the middle ear the cochlea.
A label map has one value a voxel, so **the higher value wins**; organs are numbered a whole before
its parts, and tumours last, so parts stay whole and wholes have holes. The exact masks are kept
beside the map (`exact_mask`).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from cobot.datasets.description import Dataset, OrganGroup, Terms
from cobot.errors import DatasetError
from cobot.intensity import PRESETS
from cobot.io.images import read_label_map

ORGANS_AT_RISK = (
    "Brain", "BrainStem", "Chiasm", "TemporalLobe_L", "TemporalLobe_R", "Hippocampus_L",
    "Hippocampus_R", "Eye_L", "Eye_R", "Lens_L", "Lens_R", "OpticNerve_L", "OpticNerve_R",
    "MiddleEar_L", "MiddleEar_R", "IAC_L", "IAC_R", "TympanicCavity_L", "TympanicCavity_R",
    "VestibulSemi_L", "VestibulSemi_R", "Cochlea_L", "Cochlea_R", "ETbone_L", "ETbone_R",
    "Pituitary", "OralCavity", "Mandible_L", "Mandible_R", "Submandibular_L", "Submandibular_R",
    "Parotid_L", "Parotid_R", "Mastoid_L", "Mastoid_R", "TMjoint_L", "TMjoint_R", "SpinalCord",
    "Esophagus", "Larynx", "Larynx_Glottic", "Larynx_Supraglot", "PharynxConst", "Thyroid",
    "Trachea",
)  # fmt: skip
"""In the order of the challenge's 4D submission; there Brain is 0, in label maps here it is 1."""

TUMOURS = ("GTVp", "GTVnd")
"""Gross tumour volume of the primary and of the lymph nodes: 46 and 47 in label maps here."""

REGIONS: Mapping[str, tuple[int, ...]] = {
    "Brain": (1, 2, 3, 4, 5, 6, 7, 8, 9), "BrainStem": (2,), "Chiasm": (3,),
    "TemporalLobe_L": (4, 6), "TemporalLobe_R": (5, 7),
    "Hippocampus_L": (8, 6), "Hippocampus_R": (9, 7),
    "Eye_L": (10, 12), "Eye_R": (11, 13), "Lens_L": (12,), "Lens_R": (13,),
    "OpticNerve_L": (14,), "OpticNerve_R": (15,),
    "MiddleEar_L": (18, 16, 20, 24, 28, 30), "MiddleEar_R": (19, 17, 21, 25, 29, 31),
    "IAC_L": (18,), "IAC_R": (19,),
    "TympanicCavity_L": (22, 20), "TympanicCavity_R": (23, 21),
    "VestibulSemi_L": (26, 24), "VestibulSemi_R": (27, 25),
    "Cochlea_L": (28,), "Cochlea_R": (29,), "ETbone_L": (32, 30), "ETbone_R": (33, 31),
    "Pituitary": (34,), "OralCavity": (35,), "Mandible_L": (36,), "Mandible_R": (37,),
    "Submandibular_L": (38,), "Submandibular_R": (39,), "Parotid_L": (40,), "Parotid_R": (41,),
    "Mastoid_L": (42,), "Mastoid_R": (43,), "TMjoint_L": (44,), "TMjoint_R": (45,),
    "SpinalCord": (46,), "Esophagus": (47,), "Larynx": (48, 49, 50, 51),
    "Larynx_Glottic": (49,), "Larynx_Supraglot": (50,), "PharynxConst": (51, 52),
    "Thyroid": (53,), "Trachea": (54,),
}  # fmt: skip
"""The published map of 54 ids has own ids for overlaps; an organ is the union of these."""

TUMOUR_REGIONS: Mapping[str, tuple[int, ...]] = {"GTVp": (1,), "GTVnd": (2,)}
"""The same for the published map of tumours."""

LABELS: Mapping[int, str] = dict(enumerate(ORGANS_AT_RISK + TUMOURS, start=1))
BRAIN = ("Brain", "BrainStem", "Chiasm", "TemporalLobe_L", "TemporalLobe_R", "Hippocampus_L",
         "Hippocampus_R", "Pituitary")  # fmt: skip
BONE = (
    "MiddleEar_L", "MiddleEar_R", "IAC_L", "IAC_R", "TympanicCavity_L", "TympanicCavity_R",
    "VestibulSemi_L", "VestibulSemi_R", "Cochlea_L", "Cochlea_R", "ETbone_L", "ETbone_R",
    "Mandible_L", "Mandible_R", "Mastoid_L", "Mastoid_R", "TMjoint_L", "TMjoint_R",
)  # fmt: skip
SOFT_TISSUE = tuple(name for name in LABELS.values() if name not in BRAIN + BONE)

HEAD_NECK = Dataset(
    name="head_neck",
    title="SegRap2023",
    labels=LABELS,
    groups=(
        OrganGroup("brain", BRAIN, PRESETS["brain"]),
        OrganGroup("bone", BONE, PRESETS["bone"]),
        OrganGroup("soft tissue", SOFT_TISSUE, PRESETS["mediastinum"]),
    ),
    plane="axial",
    terms=Terms(
        licence="a signed end-user agreement",
        meaning=(
            "Restricted: for those who signed it. Pass on neither the data nor an adapter trained "
            "on them. Copies that carry another licence are not the publishers' word."
        ),
        address="https://segrap2023.grand-challenge.org",
    ),
)
"""Windows: brain W80 L40; bone W3000 L500; soft tissue W350 L50, as for the mediastinum. No peer
publishes windows for these organs; they are general radiology practice."""

ORGAN_MAP, TUMOUR_MAP = "Task001.nii.gz", "Task002.nii.gz"
"""What the published maps are called beside a case's label map."""


def values_of(regions: Mapping[str, tuple[int, ...]]) -> dict[int, int]:
    """Published id to value in our label maps: of the structures that share it, the highest.

    >>> values_of(REGIONS)[6], LABELS[6]
    (6, 'Hippocampus_L')
    """
    values: dict[int, int] = {}
    for value, name in LABELS.items():
        for region in regions.get(name, ()):
            values[region] = value
    return dict(sorted(values.items()))


def exact_mask(folder: Path, name: str) -> Bool[np.ndarray, "i j k"]:
    """The whole of one structure, overlaps included.

    Args:
        folder: `labels/exact/<case>` of prepared studies.
        name: of an organ at risk or a tumour.

    Raises:
        DatasetError: no structure has that name.
        ImageReadError: the folder lacks its file, or it is damaged.
    """
    if name not in LABELS.values():
        raise DatasetError(f"{HEAD_NECK.title} has no structure {name!r}; see `HEAD_NECK.labels`.")
    single = folder / f"{name}.nii.gz"
    file, regions = (ORGAN_MAP, REGIONS) if name in REGIONS else (TUMOUR_MAP, TUMOUR_REGIONS)
    if single.is_file() or not (folder / file).is_file():
        return read_label_map(single).voxels > 0
    mask: Bool[np.ndarray, "i j k"] = np.isin(read_label_map(folder / file).voxels, regions[name])
    return mask
