import os
import stat

import pytest
from cobot.adapters import atomic


def test_file_is_replaced_and_nothing_else_remains(tmp_path):
    path = tmp_path / "pointer"
    for content in (b"one", b"two"):
        atomic.write_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_broken_file_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "pointer"
    atomic.write_file(path, b"old")

    def refuse(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no space left"):
        atomic.write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_appears_whole_or_not_at_all(tmp_path):
    def die_halfway():
        with atomic.new_folder(tmp_path / "a") as temporary:
            (temporary / "part").write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        die_halfway()
    assert list(tmp_path.iterdir()) == []
    with atomic.new_folder(tmp_path / "a") as temporary:
        (temporary / "part").write_text("whole")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a" / "part").read_text() == "whole"
    with pytest.raises(FileExistsError), atomic.new_folder(tmp_path / "a"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_modes_follow_the_umask_so_that_a_group_can_share_a_store(tmp_path):
    old = os.umask(0o022)
    try:
        atomic.write_file(tmp_path / "file", b"")
        with atomic.new_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o755
