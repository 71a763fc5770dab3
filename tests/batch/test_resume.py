"""A run that is started again: what is finished stays, what has changed is done anew."""

import os
from dataclasses import replace

import pytest
import SimpleITK as sitk
from cobot.batch.budget import MemoryBudget
from cobot.batch.fingerprint import is_unchanged, looks_unchanged
from cobot.batch.inputs import find_inputs
from cobot.batch.manifest import Manifest, alone_in, read_manifest, read_record
from cobot.batch.model import RunModel
from cobot.batch.record import MANIFEST_NAME
from cobot.batch.settings import CaseSettings
from cobot.datasets.phantom import abdomen_phantom
from cobot.errors import ConfigError
from cobot.io.image_writer import write_volume
from cobot.sam.segmenter import SegmenterOptions, SliceSegmenter

SMALL = {"shape": (40, 36, 4), "spacing_mm": (9.0, 9.0, 40.0)}


def lines(out):
    return len((out / MANIFEST_NAME).read_bytes().splitlines())


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in sorted(out.glob("*/*")) if path.is_file()}


def test_a_second_run_does_nothing_again(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    before = stamps(out), lines(out)
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 3}
    assert (stamps(out), lines(out)) == before


def test_a_new_image_is_added_alone(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    write_volume(abdomen_phantom(9, **SMALL).volume, studies / "new.nii.gz")
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 3, "done": 1}


def test_a_changed_image_is_done_again_and_the_old_mask_kept(
    segment, studies, tmp_path, box_everywhere
):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    old = (out / "case1" / "case1.nii.gz").read_bytes()
    for number in (10, 11):
        write_volume(abdomen_phantom(number, **SMALL).volume, studies / "case1.nii.gz")
        summary = segment(studies, out=out, source=box_everywhere("liver"))
        assert dict(summary.counts) == {"done before": 2, "done": 1}
    kept = sorted(path.name for path in (out / "history" / "case1").iterdir())
    assert kept == ["0001", "0002"]
    assert (out / "history" / "case1" / "0001" / "case1.nii.gz").read_bytes() == old


def test_an_image_only_touched_is_not_done_again(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    os.utime(studies / "case1.nii.gz", (1, 1))
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 3}


@pytest.fixture
def two_files(studies, tmp_path):
    """An image as a header and its voxels, which are the older file by a second."""
    header, voxels = tmp_path / "apart" / "a.mhd", tmp_path / "apart" / "a.raw"
    header.parent.mkdir()
    sitk.WriteImage(sitk.ReadImage(str(studies / "case0.nii.gz")), str(header))
    os.utime(header, ns=(2_000_000_000, 2_000_000_000))
    os.utime(voxels, ns=(1_000_000_000, 1_000_000_000))
    return header, voxels


def test_a_file_of_an_image_replaced_by_an_older_one_of_its_size_is_noticed(
    segment, two_files, tmp_path, box_everywhere
):
    out, (header, voxels) = tmp_path / "out", two_files
    segment(header, out=out, source=box_everywhere("liver"))
    voxels.write_bytes(voxels.read_bytes()[::-1])
    os.utime(voxels, ns=(500_000_000, 500_000_000))
    again = segment(header, out=out, source=box_everywhere("liver"))
    assert dict(again.counts) == {"done": 1}
    once_more = segment(header, out=out, source=box_everywhere("liver"))
    assert dict(once_more.counts) == {"done before": 1}


def test_a_record_that_knows_the_newest_time_alone_is_compared_by_contents(
    segment, two_files, tmp_path, box_everywhere
):
    """As records of several files once were: nothing is segmented again."""
    out, (header, voxels) = tmp_path / "out", two_files
    segment(header, out=out, source=box_everywhere("liver"))
    beside = out / "a" / "a.json"
    record = read_record(beside)
    old = record.fingerprint.model_copy(update={"mtime_ns": header.stat().st_mtime_ns})
    assert old.size_bytes == header.stat().st_size + voxels.stat().st_size
    text = record.model_copy(update={"fingerprint": old}).model_dump_json() + "\n"
    beside.write_text(text)
    (out / MANIFEST_NAME).write_text(text)
    assert not looks_unchanged(two_files, old)
    assert is_unchanged(two_files, old)
    summary = segment(header, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 1}


def test_changed_prompts_settings_and_adapters_are_noticed(
    segment, studies, tmp_path, box_everywhere, model
):
    out = tmp_path / "out"
    one = studies / "case0.nii.gz"
    source = box_everywhere("liver")
    segment(one, out=out, source=source)
    assert dict(segment(one, out=out, source=box_everywhere("liver", "spleen")).counts) == {
        "done": 1
    }
    assert dict(segment(one, out=out, source=source).counts) == {"done": 1}
    windowed = CaseSettings(window="-100,200")
    assert dict(segment(one, out=out, source=source, settings=windowed).counts) == {"done": 1}
    options = SegmenterOptions(adapter_hash="another", precision="fp32")
    other = SliceSegmenter(model.segmenter.base, "cpu", options)
    adapted = RunModel(model.choice, other, None)
    settings = {"settings": windowed, "using": adapted}
    assert dict(segment(one, out=out, source=source, **settings).counts) == {"done": 1}
    assert dict(segment(one, out=out, source=source, **settings).counts) == {"done before": 1}
    assert len(list((out / "history" / "case0").iterdir())) == 4


def test_a_mask_that_was_deleted_is_made_again(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    (out / "case2" / "case2.nii.gz").unlink()
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 2, "done": 1}


def test_a_case_finished_without_a_line_is_taken_over(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies, out=out, source=box_everywhere("liver"))
    before = stamps(out)
    manifest = out / MANIFEST_NAME
    first, _, last = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(first + last[: len(last) // 2])
    summary = segment(studies, out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done before": 1, "done": 2}
    assert stamps(out) == before
    assert sorted(read_manifest(out)) == ["case0", "case1", "case2"]
    # The torn line stays as it was, on a line of its own.
    assert lines(out) == 4


def test_a_failed_case_is_tried_again_only_when_something_changed(
    segment, studies, tmp_path, box_everywhere
):
    out = tmp_path / "out"
    bad = studies / "bad.nii.gz"
    bad.write_bytes(b"no image")
    source = box_everywhere("liver")
    assert dict(segment(studies, out=out, source=source).counts) == {"done": 3, "failed": 1}
    count = lines(out)
    again = segment(studies, out=out, source=source)
    assert dict(again.counts) == {"done before": 3, "failed before": 1}
    assert lines(out) == count
    assert [record.case for record in again.failed] == ["bad"]
    retried = segment(studies, out=out, source=source, retry_failed=True)
    assert dict(retried.counts) == {"done before": 3, "failed": 1}
    write_volume(abdomen_phantom(4, **SMALL).volume, bad)
    mended = segment(studies, out=out, source=source)
    assert dict(mended.counts) == {"done before": 3, "done": 1}
    assert not mended.failed


def test_what_killed_runs_left_is_swept_away(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    left = out / ".0123456789abcdef.partial", out / ".case0.ready"
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "half.nii.gz").write_bytes(b"half")
    (out / ".mine").mkdir()
    segment(studies, out=out, source=box_everywhere("liver"))
    assert not any(folder.exists() for folder in left)
    assert (out / ".mine").is_dir()


def test_two_runs_never_share_an_output_folder(tmp_path):
    with alone_in(tmp_path / "out"):
        with pytest.raises(ConfigError, match="Another run is writing into .*out. Wait until"):
            with alone_in(tmp_path / "out"):
                pass
    with alone_in(tmp_path / "out"):
        pass


def test_lines_nobody_can_read_are_passed_over(segment, studies, tmp_path, box_everywhere):
    out = tmp_path / "out"
    segment(studies / "case0.nii.gz", out=out, source=box_everywhere("liver"))
    record = read_record(out / "case0" / "case0.json")
    path = out / MANIFEST_NAME
    path.write_bytes(b'{"case": 3}\n\xff\xfe\n' + path.read_bytes() + b'{"version": 1, "ca')
    assert read_manifest(out) == {"case0": record}
    Manifest(out).append(record.model_copy(update={"case": "other"}))
    assert sorted(read_manifest(out)) == ["case0", "other"]


def test_the_memory_of_a_run_stays_within_its_budget(
    segment, studies, tmp_path, box_everywhere, monkeypatch
):
    peaks = []
    give_back = MemoryBudget.give_back

    def noting(self, amount_bytes):
        peaks.append((self.peak_bytes, amount_bytes))
        give_back(self, amount_bytes)

    monkeypatch.setattr(MemoryBudget, "give_back", noting)
    from cobot.batch.stages import Limits

    source = box_everywhere("liver")
    one = 40 * 36 * 4 * 6 + 100_000
    for number, limit in enumerate((one, 10 * one)):
        out = tmp_path / f"out{number}"
        summary = segment(studies, out=out, source=source, limits=Limits(limit, jobs=3))
        assert dict(summary.counts) == {"done": 3}
    biggest = max(amount for _, amount in peaks)
    assert all(peak <= max(one, biggest) for peak, _ in peaks[:3])


def test_inputs_that_vanish_are_reported(segment, studies, tmp_path, box_everywhere):
    listed = find_inputs([str(studies)])
    gone = replace(listed.cases[1], name="gone", path=studies / "gone.nii.gz")
    gone = replace(gone, files=(gone.path,))
    from cobot.batch.reading import FailedCase, prepare

    failed = prepare(gone, box_everywhere("liver"), CaseSettings())
    assert isinstance(failed, FailedCase)
    assert "it was there when the inputs were listed" in failed.error
    assert failed.fingerprint is None
