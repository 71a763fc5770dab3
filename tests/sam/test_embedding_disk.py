"""The disk tier: under its limit, shared by processes, and never worse than an empty one."""

import hashlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from cobot.sam.embedding_disk import EmbeddingDisk

RECORD = 64 + 2 * 4 * 8 * 8
FILE_HEAD = 64


def key(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def features(number):
    return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(number))


def rounded(number):
    return features(number).bfloat16().float()


def store(disk, volume, *numbers):
    for number in numbers:
        disk.store(volume, key(number), features(number))


def age(folder, seconds):
    """Make every file older, so that what is used next is the newest beyond doubt."""
    for path in folder.glob("*.cobotemb"):
        earlier = path.stat().st_mtime_ns - int(seconds * 1e9)
        os.utime(path, ns=(earlier, earlier))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "embeddings"


@pytest.fixture
def disk(folder):
    return EmbeddingDisk(folder, 10**6)


def files(folder):
    return sorted(folder.glob("*.cobotemb"))


def test_nothing_is_made_before_something_is_stored(disk, folder):
    assert disk.load(key(0)) is None
    assert not folder.exists()


def test_one_file_a_volume_for_this_user_alone(disk, folder):
    store(disk, "/studies/Miller^Anna.nii", 0, 1)
    store(disk, "/studies/other.nii", 2)
    assert len(files(folder)) == 2
    assert disk.used_bytes() == 2 * FILE_HEAD + 3 * RECORD
    assert not any(
        "Miller" in str(path) or b"Miller" in path.read_bytes() for path in files(folder)
    )
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_is_stored_is_found_again_rounded_also_after_a_restart(disk, folder):
    store(disk, "a", 0, 1)
    store(disk, "b", 2)
    for opened in (disk, EmbeddingDisk(folder, 10**6)):
        for number in range(3):
            assert torch.equal(opened.load(key(number)), rounded(number))
        assert opened.load(key(3)) is None


def test_stored_twice_it_is_kept_once(disk):
    store(disk, "a", 0, 0)
    store(disk, "b", 0)
    assert disk.used_bytes() == FILE_HEAD + RECORD


def test_two_that_share_a_folder_see_each_others(disk, folder):
    other = EmbeddingDisk(folder, 10**6)
    store(disk, "a", 0)
    assert torch.equal(other.load(key(0)), rounded(0))
    store(other, "a", 1)
    store(disk, "a", 2)
    for number in range(3):
        assert torch.equal(disk.load(key(number)), rounded(number))
    assert len(files(folder)) == 1


def test_the_least_recently_used_volume_goes_and_the_limit_holds(folder):
    limit = 3 * (FILE_HEAD + 2 * RECORD)
    disk = EmbeddingDisk(folder, limit)
    for number, volume in enumerate("abc"):
        store(disk, volume, 2 * number, 2 * number + 1)
        age(folder, 10)
    assert disk.used_bytes() == limit
    assert disk.load(key(0)) is not None
    age(folder, 10)
    os.utime(max(files(folder), key=lambda path: path.stat().st_mtime_ns))
    store(disk, "d", 6)
    assert disk.used_bytes() <= limit
    assert [disk.load(key(number)) is not None for number in range(7)] == [
        *(True, True),
        *(False, False),
        *(True, True),
        True,
    ]


def test_a_volume_larger_than_the_limit_fills_it_and_no_more(folder):
    limit = FILE_HEAD + 3 * RECORD + 100
    disk = EmbeddingDisk(folder, limit)
    for number in range(6):
        store(disk, "a", number)
        assert disk.used_bytes() <= limit
    assert [disk.load(key(number)) is not None for number in range(6)] == [True] * 3 + [False] * 3
    assert EmbeddingDisk(folder, RECORD).used_bytes() == disk.used_bytes()


def test_nothing_is_stored_where_not_even_one_fits(folder):
    disk = EmbeddingDisk(folder, FILE_HEAD + RECORD - 1)
    store(disk, "a", 0)
    assert files(folder) == []


def test_a_cut_file_loses_what_was_cut_and_grows_again(disk, folder):
    store(disk, "a", 0, 1)
    (path,) = files(folder)
    with path.open("r+b") as stream:
        stream.truncate(FILE_HEAD + 2 * RECORD - 1)
    for opened in (disk, EmbeddingDisk(folder, 10**6)):
        assert opened.load(key(1)) is None
        store(opened, "a", 0, 1)
        assert torch.equal(opened.load(key(0)), rounded(0))
        assert torch.equal(opened.load(key(1)), rounded(1))
        with path.open("r+b") as stream:
            stream.truncate(FILE_HEAD + 2 * RECORD - 1)


def test_damaged_and_foreign_files_are_removed_and_others_left(disk, folder):
    store(disk, "a", 0)
    store(disk, "b", 1)
    (damaged,) = (path for path in files(folder) if disk_holds(path, 0))
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 255
    damaged.write_bytes(content)
    (folder / "x.cobotemb").write_bytes(b"\x80\x04K\x01.")
    (folder / "notes.txt").write_text("mine")
    opened = EmbeddingDisk(folder, 10**6)
    assert opened.load(key(0)) is None
    assert torch.equal(opened.load(key(1)), rounded(1))
    assert not damaged.exists()
    assert not (folder / "x.cobotemb").exists()
    assert (folder / "notes.txt").read_text() == "mine"
    store(opened, "a", 0)
    assert torch.equal(opened.load(key(0)), rounded(0))


def disk_holds(path, number):
    return bytes.fromhex(key(number)) in path.read_bytes()


def test_what_a_killed_writer_left_of_a_new_file_is_swept(disk, folder):
    store(disk, "a", 0)
    left = folder / ".0123.partial.cobotemb"
    left.write_bytes(b"half")
    assert disk.used_bytes() == FILE_HEAD + RECORD
    store(disk, "b", 1)
    assert not left.exists()


def test_a_file_that_someone_deletes_is_forgotten(disk, folder):
    store(disk, "a", 0, 1)
    files(folder)[0].unlink()
    assert disk.load(key(0)) is None
    assert disk.load(key(1)) is None
    store(disk, "a", 1)
    assert torch.equal(disk.load(key(1)), rounded(1))


def test_a_disk_that_refuses_costs_an_embedding_and_a_line_in_the_log(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    disk = EmbeddingDisk(tmp_path / "file" / "embeddings", 10**6)
    with caplog.at_level(logging.WARNING):
        store(disk, "a", 0)
    assert "could not be kept" in caplog.text
    assert disk.load(key(0)) is None


WRITER = """
    import sys, torch
    from pathlib import Path
    from cobot.sam.embedding_disk import EmbeddingDisk

    disk = EmbeddingDisk(Path(sys.argv[1]), 10**9)
    number = 0
    while True:
        disk.store("a", f"{number:064x}", torch.full((1, 256, 16, 16), float(number % 256)))
        print(number, flush=True)
        number += 1
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_kill_9_of_a_writer_leaves_what_it_had_stored(folder):
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    stored = -1
    while stored < 20:
        stored = int(writer.stdout.readline())
    time.sleep(0.013)
    writer.send_signal(signal.SIGKILL)
    stored = max([stored, *map(int, writer.stdout.read().split())])
    writer.wait()
    writer.stdout.close()
    disk = EmbeddingDisk(folder, 10**9)
    for number in range(stored + 1):
        found = disk.load(f"{number:064x}")
        assert found is not None
        assert (found == number % 256).all()
    new = torch.ones(1, 256, 16, 16)
    disk.store("a", "f" * 64, new)
    assert torch.equal(disk.load("f" * 64), new)
    (path,) = files(folder)
    assert (path.stat().st_size - FILE_HEAD) % (64 + 2 * 256 * 16 * 16) == 0
