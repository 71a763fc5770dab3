"""Names of structures as SNOMED CT codes, for DICOM segmentations.

Only terms of the DICOM standard's own context groups are used. A part without one there carries
the term of the whole (a cochlea is coded as inner ear); its name stays in the label.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.sr.coding import Code

ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
TISSUE = Code("85756007", "SCT", "Tissue")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")

ABNORMAL: Mapping[str, Code] = {
    "gtvp": Code("86049000", "SCT", "Neoplasm, Primary"),
    "gtvnd": Code("14799000", "SCT", "Neoplasm, Secondary"),
    "gtvn": Code("14799000", "SCT", "Neoplasm, Secondary"),
    "tumour": Code("108369006", "SCT", "Neoplasm"),
    "tumor": Code("108369006", "SCT", "Neoplasm"),
    "lesion": Code("52988006", "SCT", "Lesion"),
}

ANATOMY: Mapping[str, Code] = {
    "liver": Code("10200004", "SCT", "Liver"),
    "kidney": Code("64033007", "SCT", "Kidney"),
    "spleen": Code("78961009", "SCT", "Spleen"),
    "pancreas": Code("15776009", "SCT", "Pancreas"),
    "stomach": Code("69695003", "SCT", "Stomach"),
    "gallbladder": Code("28231008", "SCT", "Gallbladder"),
    "duodenum": Code("38848004", "SCT", "Duodenum"),
    "colon": Code("71854001", "SCT", "Colon"),
    "smallbowel": Code("30315005", "SCT", "Small intestine"),
    "smallintestine": Code("30315005", "SCT", "Small intestine"),
    "bladder": Code("89837001", "SCT", "Bladder"),
    "urinarybladder": Code("89837001", "SCT", "Bladder"),
    "prostate": Code("41216001", "SCT", "Prostate"),
    "adrenalgland": Code("23451007", "SCT", "Adrenal gland"),
    "aorta": Code("15825003", "SCT", "Aorta"),
    "inferiorvenacava": Code("64131007", "SCT", "Inferior Vena Cava"),
    "heart": Code("80891009", "SCT", "Heart"),
    "lung": Code("39607008", "SCT", "Lung"),
    "brain": Code("12738006", "SCT", "Brain"),
    "brainstem": Code("119238007", "SCT", "Brain stem"),
    "chiasm": Code("244453006", "SCT", "Optic chiasm"),
    "opticchiasm": Code("244453006", "SCT", "Optic chiasm"),
    "temporallobe": Code("78277001", "SCT", "Temporal lobe"),
    "hippocampus": Code("5366008", "SCT", "Hippocampus"),
    "eye": Code("81745001", "SCT", "Eye"),
    "lens": Code("78076003", "SCT", "Lens"),
    "opticnerve": Code("18234004", "SCT", "optic nerve"),
    "middleear": Code("25342003", "SCT", "Middle ear"),
    "iac": Code("61671002", "SCT", "Internal Auditory Meatus"),
    "tympaniccavity": Code("25342003", "SCT", "Middle ear"),
    "vestibulsemi": Code("22945000", "SCT", "Inner ear"),
    "cochlea": Code("22945000", "SCT", "Inner ear"),
    "etbone": Code("60911003", "SCT", "Temporal Bone"),
    "pituitary": Code("56329008", "SCT", "Pituitary"),
    "oralcavity": Code("74262004", "SCT", "oral cavity"),
    "mandible": Code("91609006", "SCT", "Mandible"),
    "submandibular": Code("54019009", "SCT", "Submandibular gland"),
    "submandibulargland": Code("54019009", "SCT", "Submandibular gland"),
    "parotid": Code("45289007", "SCT", "Parotid gland"),
    "parotidgland": Code("45289007", "SCT", "Parotid gland"),
    "mastoid": Code("59066005", "SCT", "Mastoid bone"),
    "tmjoint": Code("53620006", "SCT", "Temporomandibular joint"),
    "spinalcord": Code("2748008", "SCT", "Spinal cord"),
    "esophagus": Code("32849002", "SCT", "Esophagus"),
    "oesophagus": Code("32849002", "SCT", "Esophagus"),
    "larynx": Code("4596009", "SCT", "Larynx"),
    "larynxglottic": Code("1307006", "SCT", "glottis"),
    "larynxsupraglot": Code("119255006", "SCT", "supraglottis"),
    "pharynxconst": Code("54066008", "SCT", "Pharynx"),
    "pharynx": Code("54066008", "SCT", "Pharynx"),
    "thyroid": Code("69748006", "SCT", "Thyroid"),
    "trachea": Code("44567001", "SCT", "Trachea"),
}

SIDES: Mapping[str, Code] = {
    "left": LEFT, "l": LEFT, "lt": LEFT, "right": RIGHT, "r": RIGHT, "rt": RIGHT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StructureCode:
    """What DICOM calls a structure.

    Attributes:
        category: anatomical, abnormal, or tissue where the name is unknown.
        kind: the structure.
        side: left or right, or None.
    """

    category: Code
    kind: Code
    side: Code | None


def structure_code(name: str) -> StructureCode:
    """The codes of a structure by its name, whatever the case, separators and place of the side.

    A name that is not known is coded as tissue, 3D Slicer's default too: true of everything, and
    nothing is guessed. Sides are only read where the rest of the name is known.

    >>> structure_code("Parotid_L").kind.meaning, structure_code("left parotid").side.meaning
    ('Parotid gland', 'Left')
    >>> structure_code("my thing").kind.meaning
    'Tissue'
    """
    words = re.findall(r"[^\W_]+", name.casefold())
    sides = [SIDES[word] for word in words if word in SIDES]
    bare = "".join(word for word in words if word not in SIDES)
    for category, terms in ((ANATOMICAL_STRUCTURE, ANATOMY), (ABNORMAL_STRUCTURE, ABNORMAL)):
        for key in (bare, bare.removesuffix("s")):
            if key in terms and len(sides) <= 1:
                return StructureCode(category, terms[key], sides[0] if sides else None)
    return StructureCode(TISSUE, TISSUE, None)
