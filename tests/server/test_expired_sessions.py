"""Sessions on the disk, as MONAI Label writes them: which of them go, and when."""

import os

import pytest
from cobot.server.expired_sessions import expired_sessions
from monailabel.utils.sessions import Sessions

HOUR_S = 3600.0
BROKEN = "0a0b0c0d-0000-11f0-8000-000000000000"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "sessions"


def lend(folder, tmp_path):
    volume = tmp_path / "volume.nii.gz"
    volume.write_bytes(b"voxels")
    return Sessions(str(folder), 12 * 3600).add_session(str(volume), 3600)


def test_a_session_of_a_server_before_goes_when_its_time_is_over(folder, tmp_path):
    name, info = lend(folder, tmp_path)
    ends_s = info.last_access_ts + HOUR_S
    assert expired_sessions(folder, 12 * HOUR_S, ends_s) == ()
    assert expired_sessions(folder, 12 * HOUR_S, ends_s + 1) == (name,)


@pytest.mark.parametrize("meta", [None, "", "{", "[1]", '{"expiry": 1}'])
def test_a_damaged_one_is_kept_as_long_and_keeps_no_other(folder, tmp_path, meta):
    name, info = lend(folder, tmp_path)
    (folder / BROKEN).mkdir()
    if meta is not None:
        (folder / BROKEN / "meta.info").write_text(meta)
    os.utime(folder / BROKEN, (1000, 1000))
    assert expired_sessions(folder, HOUR_S, 1000.0 + HOUR_S) == ()
    assert expired_sessions(folder, HOUR_S, 1001.0 + HOUR_S) == (BROKEN,)
    both = tuple(sorted((BROKEN, name)))
    assert expired_sessions(folder, HOUR_S, info.last_access_ts + HOUR_S + 1) == both


def test_what_is_no_session_is_left_alone(folder):
    assert expired_sessions(folder, HOUR_S, 10.0**12) == ()
    (folder / "patients").mkdir(parents=True)
    (folder / BROKEN).write_text("a file")
    assert expired_sessions(folder, HOUR_S, 10.0**12) == ()
