"""The page a reader opens: order, figures, and nothing that could harm."""

import json
import re
from html.parser import HTMLParser

import pytest
from cobot.errors import ConfigError
from cobot.io import write_label_map
from cobot.report import batch_cases
from cobot.report.batch_cases import batch_masks, review_batch
from cobot.report.case_view import view_case
from cobot.report.case_warnings import CaseWarning
from cobot.report.page import write_report
from cobot.volume import LabelMap

from .batch_example import AFFINE, add_case, add_failure, organ


class Outline(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(path) -> tuple[str, Outline]:
    html = path.read_text(encoding="utf-8")
    outline = Outline()
    outline.feed(html)
    return html, outline


@pytest.fixture
def batch(tmp_path):
    out = tmp_path / "out"
    add_case(out, "calm", organ((10, 10, 3)))
    add_case(out, "cut_off", organ((0, 10, 3)), confidence=0.2)
    add_failure(out, "torn", "torn.nii.gz is damaged; copy it again.")
    add_failure(out, "scout", "a localiser", "skipped")
    return out


@pytest.mark.parametrize(("absent", "rows"), [(8, 9), (9, 1)])
def test_many_structures_that_are_not_there_get_one_line(tmp_path, absent, rows):
    add_case(tmp_path / "out", "calm", organ((10, 10, 3)), absent=absent)
    html, outline = read(write_report(tmp_path / "out"))
    assert sum(attrs.get("class") == "chip" for _, attrs in outline.tags) == rows
    assert ("9 more are named, and nothing of them was asked or found" in html) == (absent == 9)
    assert f"bone {absent - 1}" in html


@pytest.mark.parametrize("count", [8, 10])
def test_warnings_beyond_eight_are_folded(tmp_path, monkeypatch, count):
    many = [CaseWarning("at the edge", f"part {number} touches", 1.0) for number in range(count)]
    monkeypatch.setattr(batch_cases, "mask_warnings", lambda _: many)
    add_case(tmp_path / "out", "calm", organ((10, 10, 3)))
    html, _ = read(write_report(tmp_path / "out"))
    folded = html.partition("<details>")[2].partition("</details>")[0]
    assert ("part 8 touches" in folded) == (count == 10)
    assert all(f"part {number} touches" in html for number in range(count))
    assert "part 7 touches" not in folded


def test_what_needs_a_look_comes_first(batch):
    html, outline = read(write_report(batch))
    anchors = [attrs["id"] for tag, attrs in outline.tags if tag == "section"]
    assert anchors == ["case-1", "case-2"]
    order = [html.index(text) for text in ("copy it again", ">cut_off<", ">calm<", "a localiser")]
    assert order == sorted(order)
    assert "liver touches the edge of the image towards the left" in html
    assert "liver is uncertain: 0.20 on slice k = 3" in html
    assert "1500.0" in html


def test_it_needs_nothing_but_itself(batch):
    html, outline = read(write_report(batch))
    names = {tag for tag, _ in outline.tags}
    assert not names & {"script", "link", "iframe", "object", "form"}
    sources = [attrs["src"] for tag, attrs in outline.tags if tag == "img"]
    assert sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.findall(r"https?://|url\(|@import", html)
    assert "default-src 'none'" in html


def test_with_truth_there_are_figures(batch, tmp_path):
    truth = tmp_path / "truth"
    truth.mkdir()
    shifted = LabelMap(organ((11, 10, 3)), AFFINE, {1: "liver"})
    write_label_map(shifted, truth / "label_calm.nii.gz")
    html, _ = read(write_report(batch, truth))
    assert "Dice" in html
    # Seven of eight layers are common.
    assert "0.875" in html
    (truth / "label_calm.nii.gz").rename(truth / "label_other.nii.gz")
    with pytest.raises(ConfigError, match="No truth in .* named for a case"):
        write_report(batch, truth)


def test_a_truth_is_read_by_the_names_submitted_with_it(batch, tmp_path):
    final = tmp_path / "studies" / "labels" / "final"
    final.mkdir(parents=True)
    voxels = organ((30, 25, 3))
    voxels[organ((11, 10, 3)) > 0] = 2
    write_label_map(LabelMap(voxels, AFFINE), final / "calm.nii.gz")
    (tmp_path / "studies" / "calm.nii.gz").touch()
    info = {"label_names": {"spleen": 1, "liver": 2}}
    record = {"objects": {"calm": {"labels": {"final": {"info": info}}}}}
    (tmp_path / "studies" / "datastore_v2.json").write_text(json.dumps(record))
    html, _ = read(write_report(batch, tmp_path / "studies"))
    assert "0.875" in html
    assert "not readable" not in html


def test_a_truth_that_spells_a_name_otherwise_has_its_figures_in_the_table(tmp_path):
    add_case(tmp_path / "out", "one", organ((10, 10, 3)), label="left kidney")
    truth = tmp_path / "truth"
    truth.mkdir()
    shifted = LabelMap(organ((11, 10, 3)), AFFINE, {1: "Left_Kidney"})
    write_label_map(shifted, truth / "one.nii.gz")
    (case,) = review_batch(tmp_path / "out", truth, 2.0).done
    (row,) = view_case(case, 1, tmp_path / "out", pictured=False).rows
    assert row.score.scores.dice == pytest.approx(0.875)


def test_cases_that_would_share_a_truth_are_refused_with_truth_alone(tmp_path):
    out, truth = tmp_path / "out", tmp_path / "truth"
    truth.mkdir()
    for case in ("7", "image_7"):
        add_case(out, case, organ((10, 10, 3)))
    write_label_map(LabelMap(organ((10, 10, 3)), AFFINE, {1: "liver"}), truth / "7.nii.gz")
    write_report(out)
    with pytest.raises(ConfigError, match="Cases 7 and image_7 .* the same truth"):
        write_report(out, truth)
    with pytest.raises(ConfigError, match="Cases 7 and image_7"):
        batch_masks(out)


def test_names_are_text_and_never_markup(tmp_path):
    out = tmp_path / "out"
    evil = "<script>alert('x')</script>"
    add_case(out, "a&b", organ((0, 10, 3)), label=f'{evil}"onload="x', confidence=0.1)
    add_failure(out, "<img src=x onerror=alert(1)>", f"{evil} & more")
    html, outline = read(write_report(out))
    assert "script" not in {tag for tag, _ in outline.tags}
    assert not [attrs for _, attrs in outline.tags if set(attrs) & {"onload", "onerror"}]
    assert "&lt;script&gt;" in html
    assert "a&b" in "".join(outline.text)
    assert "<img src=x onerror=alert(1)>" in "".join(outline.text)


def test_a_lost_image_or_mask_is_said_and_the_page_is_written(batch, tmp_path):
    (tmp_path / "images" / "calm.nii.gz").unlink()
    (batch / "cut_off" / "cut_off.nii.gz").unlink()
    html, _ = read(write_report(batch))
    assert "No slices are drawn: " in html
    assert "not readable" in html
    assert "does not exist" in html


def test_a_folder_without_a_batch_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not the output of a batch"):
        write_report(tmp_path)


def test_the_last_record_of_a_case_counts(batch):
    add_case(batch, "torn", organ((10, 10, 3)))
    html, outline = read(write_report(batch))
    assert len([tag for tag, _ in outline.tags if tag == "section"]) == 3
    assert "copy it again" not in html
