"""Which submitted labels a trainer learns from, told by their names alone."""

import json

import pytest
from cobot.errors import ConfigError
from cobot.server.training_cases import training_cases

LABELS = {1: "liver", 2: "left kidney"}


def submit(studies, **names):
    """Empty files and the record MONAI Label would write: only names are looked at."""
    final = studies / "labels" / "final"
    final.mkdir(parents=True, exist_ok=True)
    objects = {}
    for case, structures in names.items():
        (studies / f"{case}.nii.gz").touch()
        (final / f"{case}.nrrd").touch()
        ranks = {name: rank for rank, name in enumerate(structures, start=1)}
        info = {"label_names": ranks} if ranks else {}
        objects[case] = {"labels": {"final": {"info": info}}}
    (studies / "datastore_v2.json").write_text(json.dumps({"objects": objects}))


def test_what_the_trainer_knows_is_used_and_the_rest_is_said(tmp_path):
    submit(
        tmp_path,
        a=["spleen", "Liver"],
        b=["left_kidney"],
        c=["spleen"],
        d=["liver", "cyst"],
        by_value=[],
    )
    cases = training_cases(tmp_path, LABELS)
    assert cases.used == ("a", "b", "by_value", "d")
    assert cases.left_out == ("c",)
    assert cases.unknown == ("cyst", "spleen")
    assert cases.notes == (
        "1 labelled study(ies) hold none of the structures.",
        "Not learnt, since this trainer does not know them: cyst, spleen.",
    )


def test_without_labels_it_says_how_many_to_submit(tmp_path):
    with pytest.raises(
        ConfigError, match=r"needs 3 labelled studies.* 0 with liver.*Submit 3 more"
    ):
        training_cases(tmp_path, LABELS)
    (tmp_path / "labels" / "final").mkdir(parents=True)
    with pytest.raises(ConfigError, match="0 with liver, left kidney were submitted. Submit 3"):
        training_cases(tmp_path, LABELS)


def test_two_are_too_few_and_three_are_enough(tmp_path):
    submit(tmp_path, a=["liver"], b=["liver"], c=["spleen"])
    with pytest.raises(ConfigError, match=r"2 with liver.*hold none of the structures.*1 more"):
        training_cases(tmp_path, LABELS)
    submit(tmp_path, a=["liver"], b=["liver"], c=["liver"])
    assert training_cases(tmp_path, LABELS).notes == ()
