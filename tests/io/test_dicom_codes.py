"""Every code is one of the standard's, and names are understood as the data sets write them."""

import pytest
from cobot.datasets.abdomen import ABDOMEN
from cobot.datasets.head_neck import HEAD_NECK
from cobot.datasets.spleen import SPLEEN
from cobot.io.dicom_codes import (
    ABNORMAL,
    ABNORMAL_STRUCTURE,
    ANATOMICAL_STRUCTURE,
    ANATOMY,
    ARTIFICIAL_INTELLIGENCE,
    LEFT,
    RIGHT,
    TISSUE,
    structure_code,
)
from pydicom.sr.codedict import codes

STANDARD = {
    (value, entry[0]) for terms in codes.SCT._dict["SCT"].values() for value, entry in terms.items()
}
ALL = [*ANATOMY.values(), *ABNORMAL.values(), ABNORMAL_STRUCTURE, ANATOMICAL_STRUCTURE]


@pytest.mark.parametrize("code", [*ALL, TISSUE, LEFT, RIGHT], ids=lambda code: code.meaning)
def test_code_and_meaning_are_the_standards(code):
    assert (code.value, code.meaning) in STANDARD


def test_kind_of_algorithm_is_the_standards():
    assert codes.DCM.ArtificialIntelligence == ARTIFICIAL_INTELLIGENCE


@pytest.mark.parametrize("dataset", [ABDOMEN, SPLEEN, HEAD_NECK], ids=lambda d: d.name)
def test_every_label_of_the_data_sets_has_a_code(dataset):
    assert [name for name in dataset.labels.values() if structure_code(name).kind == TISSUE] == []


@pytest.mark.parametrize(
    ("name", "meaning", "side"),
    [
        ("liver", "Liver", None),
        ("Parotid_L", "Parotid gland", LEFT),
        ("right parotid", "Parotid gland", RIGHT),
        ("kidney_left", "Kidney", LEFT),
        ("Left-Kidney", "Kidney", LEFT),
        ("KIDNEYS", "Kidney", None),
        ("spinal cord", "Spinal cord", None),
        ("Oesophagus", "Esophagus", None),
        ("Lens_R", "Lens", RIGHT),
        ("TMjoint_R", "Temporomandibular joint", RIGHT),
        ("Larynx_Supraglot", "supraglottis", None),
        ("Cochlea_L", "Inner ear", LEFT),
        ("GTVp", "Neoplasm, Primary", None),
    ],
)
def test_names_in_every_spelling(name, meaning, side):
    code = structure_code(name)
    assert (code.kind.meaning, code.side) == (meaning, side)
    expected = ABNORMAL_STRUCTURE if name == "GTVp" else ANATOMICAL_STRUCTURE
    assert code.category == expected


@pytest.mark.parametrize(
    "name", ["my thing", "left", "label_3", "left right kidney", "肝臓", "???"]
)
def test_unknown_names_are_tissue_and_nothing_is_guessed(name):
    code = structure_code(name)
    assert (code.category, code.kind, code.side) == (TISSUE, TISSUE, None)
