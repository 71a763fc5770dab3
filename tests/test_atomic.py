"""A file is there whole or not at all."""

import os
import stat

import pytest
from cobot.atomic import atomic_folder, atomic_path
from cobot.errors import ImageWriteError, WeightsError


def test_final_name_appears_at_the_end(tmp_path):
    final = tmp_path / "mask.nii.gz"
    with atomic_path(final) as partial:
        assert partial.parent == tmp_path
        assert partial.name.endswith(".nii.gz")
        partial.write_bytes(b"whole")
        assert not final.exists()
    assert final.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["mask.nii.gz"]


def test_older_file_stays_after_an_error(tmp_path):
    final = tmp_path / "mask.nii"
    final.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), atomic_path(final) as partial:
        partial.write_bytes(b"half" * (1 // 0))
    assert final.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["mask.nii"]


def test_older_file_is_replaced(tmp_path):
    final = tmp_path / "mask.nii"
    final.write_bytes(b"older")
    with atomic_path(final) as partial:
        partial.write_bytes(b"newer")
    assert final.read_bytes() == b"newer"


def test_full_disk_names_the_file_and_leaves_nothing(tmp_path):
    with (
        pytest.raises(ImageWriteError, match="mask.nii could not be written: No space left"),
        atomic_path(tmp_path / "mask.nii"),
    ):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_own_errors_pass_unchanged(tmp_path):
    with pytest.raises(WeightsError, match="as it was"), atomic_path(tmp_path / "x.bin"):
        raise WeightsError("as it was")
    assert os.listdir(tmp_path) == []


def test_missing_folder(tmp_path):
    with (
        pytest.raises(ImageWriteError, match=r"none.mask.nii could not be .*existing folder"),
        atomic_path(tmp_path / "none" / "mask.nii"),
    ):
        pytest.fail("the block must not run")


def test_folder_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ImageWriteError, match="mask.nii could not be written"),
        atomic_path(tmp_path / "file" / "mask.nii"),
    ):
        pytest.fail("the block must not run")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "mask.nii") as partial:
            partial.write_bytes(b"whole")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mask.nii").stat().st_mode) == 0o640


def test_name_with_many_dots(tmp_path):
    with atomic_path(tmp_path / "1.3.12.2.ct.nii.gz") as partial:
        partial.write_bytes(b"")
    assert os.listdir(tmp_path) == ["1.3.12.2.ct.nii.gz"]


def test_folder_appears_whole_or_not_at_all(tmp_path):
    def die_halfway():
        with atomic_folder(tmp_path / "a") as temporary:
            (temporary / "part").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        die_halfway()
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "a") as temporary:
        (temporary / "part").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "part").read_text() == "whole"
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "a"):
        pass


def test_a_folder_that_another_process_finished_meanwhile_stays_as_it_is(tmp_path):
    def finish_second():
        with atomic_folder(tmp_path / "a") as temporary:
            (temporary / "part").write_text("ours")
            with atomic_folder(tmp_path / "a") as other:
                (other / "part").write_text("theirs")

    with pytest.raises(FileExistsError):
        finish_second()
    assert (tmp_path / "a" / "part").read_text() == "theirs"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_modes_follow_the_umask_so_that_a_group_can_share_a_store(tmp_path):
    old = os.umask(0o022)
    try:
        with atomic_path(tmp_path / "file"):
            pass
        with atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755
