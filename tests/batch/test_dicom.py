"""DICOM series in, masks and DICOM objects out."""

import numpy as np
import pytest
from cobot.batch.inputs import find_inputs
from cobot.batch.manifest import read_manifest
from cobot.batch.settings import CaseSettings
from cobot.io import read_dicom_files, read_label_map
from cobot.io.dicom_seg import read_dicom_seg
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SHAPE = (36, 40, 4)
"""Rows, columns, slices."""


def write_series(folder, seed, study="study"):
    """Noise as an axial CT series; a patient's name that must never come out."""
    folder.mkdir(parents=True)
    hu = np.random.default_rng(seed).integers(0, 1200, SHAPE).astype("<u2")
    series = generate_uid(entropy_srcs=[str(seed)])
    for number in range(SHAPE[2]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(seed), str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number}_{seed}.dcm"
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.is_little_endian, data.is_implicit_VR = True, False
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID = series
        data.StudyInstanceUID = generate_uid(entropy_srcs=[study])
        data.FrameOfReferenceUID = generate_uid(entropy_srcs=[study, "frame"])
        data.Modality, data.PatientName, data.PatientID = "CT", "Secret^Patient", "hidden-7"
        data.PatientBirthDate, data.PatientSex, data.AccessionNumber = "", "", ""
        data.StudyID, data.StudyDate, data.StudyTime = "", "", ""
        data.SeriesNumber, data.InstanceNumber = 1, number + 1
        data.Rows, data.Columns, data.SamplesPerPixel = SHAPE[0], SHAPE[1], 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation, data.PixelSpacing, data.SliceThickness = 0, [2.0, 2.0], 5
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-20.0, -30.0, 5.0 * number]
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = hu[:, :, number].tobytes()
        data.save_as(path, write_like_original=False)


def test_series_become_cases_and_dicom_comes_out_on_their_slices(tmp_path, segment, box_everywhere):
    folder, out = tmp_path / "in", tmp_path / "out"
    write_series(folder / "a", 1)
    write_series(folder / "b", 2)
    settings = CaseSettings(dicom_seg=True, rtstruct=True)
    source = box_everywhere("liver")
    assert dict(segment(folder, out=out, source=source, settings=settings).counts) == {"done": 2}
    cases = {case.name: case for case in find_inputs([str(folder)]).cases}
    assert sorted(cases) == ["a", "b"]
    for name, case in cases.items():
        record = read_manifest(out)[name]
        assert record.input_files == SHAPE[2]
        found = read_label_map(out / name / f"{name}.nii.gz")
        found.require_same_grid(read_dicom_files(case.files))
        if not found.voxels.any():
            assert len(record.warnings) == 3
            continue
        again = read_dicom_seg(out / record.outputs["dicom_seg"], case.files)
        assert np.array_equal(again.voxels, found.voxels)
        assert (out / record.outputs["rtstruct"]).is_file()
    texts = [path.read_text() for path in out.glob("**/*.json*")]
    assert len(texts) == 3
    assert not any("Secret" in text or "hidden" in text for text in texts)


def test_series_of_one_folder_are_told_apart_without_their_uids(tmp_path):
    folder = tmp_path / "mixed"
    for seed in (1, 2):
        write_series(tmp_path / f"s{seed}", seed)
    folder.mkdir()
    for path in tmp_path.glob("s*/*.dcm"):
        path.rename(folder / path.name)
    names = [case.name for case in find_inputs([str(folder)]).cases]
    assert len(set(names)) == 2
    assert all(name.startswith("mixed__") and len(name) == len("mixed__") + 8 for name in names)


def test_one_file_stands_for_its_series(tmp_path):
    write_series(tmp_path / "a", 1)
    (case,) = find_inputs([str(tmp_path / "a" / "1_1.dcm")]).cases
    assert len(case.files) == SHAPE[2]
    assert case.is_dicom


def test_a_short_series_is_skipped_and_told(tmp_path, segment, box_everywhere):
    write_series(tmp_path / "in" / "a", 1)
    write_series(tmp_path / "in" / "short", 2)
    for number in (1, 2, 3):
        (tmp_path / "in" / "short" / f"{number}_2.dcm").unlink()
    out = tmp_path / "out"
    summary = segment(tmp_path / "in", out=out, source=box_everywhere("liver"))
    assert dict(summary.counts) == {"done": 1, "skipped": 1}
    assert not summary.failed
    (skipped,) = [one for one in read_manifest(out).values() if one.status == "skipped"]
    assert "1 slices" in skipped.error


@pytest.mark.parametrize("kind", ["dicom_seg", "rtstruct"])
def test_other_images_get_no_dicom_and_a_warning(studies, tmp_path, segment, box_everywhere, kind):
    out = tmp_path / "out"
    settings = CaseSettings(**{kind: True})
    segment(studies / "case0.nii.gz", out=out, source=box_everywhere("liver"), settings=settings)
    record = read_manifest(out)["case0"]
    assert kind not in record.outputs
    assert f"no {kind} was written: the image is not a DICOM series" in record.warnings
