"""The file of embeddings: what goes in comes out rounded, and nothing damaged is taken for good."""

import hashlib
import struct
import zlib

import numpy as np
import pytest
import torch
from cobot.sam.embedding_file import EmbeddingFile
from hypothesis import given
from hypothesis import strategies as st

SHAPE = (4, 3, 5)
RECORD = 64 + 2 * 4 * 3 * 5


def key(number):
    return hashlib.sha256(str(number).encode()).digest()


def values(number):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(number)).bfloat16()


@pytest.fixture
def file(tmp_path):
    made = EmbeddingFile(tmp_path / "a.cobotemb", SHAPE)
    for number in range(3):
        made.add(key(number), values(number))
    return made


def cut(file, size):
    with file.path.open("r+b") as stream:
        stream.truncate(size)


def test_what_was_added_is_read_by_another_reader(file):
    opened = EmbeddingFile.open(file.path)
    assert opened == file
    assert file.path.stat().st_size == 64 + 3 * RECORD
    assert list(opened.keys()) == [key(0), key(1), key(2)]
    assert list(opened.keys(2)) == [key(2)]
    for number in range(3):
        read = opened.read(number, key(number))
        assert read.dtype == torch.float32
        assert torch.equal(read[0], values(number).float())


def test_the_layout_is_the_documented_one(file):
    """Read by hand, so that a change of the format is a new version and not a surprise."""
    content = file.path.read_bytes()
    assert content[:24] == b"COBOTEMB" + struct.pack("<4I", 1, 4, 3, 5)
    assert struct.unpack_from("<I", content, 24)[0] == zlib.crc32(content[:24])
    record = content[64 + RECORD : 64 + 2 * RECORD]
    assert record[:32] == key(1)
    assert struct.unpack_from("<I", record, 32)[0] == zlib.crc32(record[64:], zlib.crc32(key(1)))
    upper_half = np.frombuffer(record[64:], "<u2").astype("<u4") << 16
    assert np.array_equal(upper_half.view("<f4").reshape(SHAPE), values(1).float().numpy())


@given(size=st.integers(0, 64 + 3 * RECORD))
def test_of_a_file_cut_anywhere_whole_records_remain_and_more_can_be_added(tmp_path_factory, size):
    file = EmbeddingFile(tmp_path_factory.mktemp("cut") / "a.cobotemb", SHAPE)
    for number in range(3):
        file.add(key(number), values(number))
    cut(file, size)
    opened = EmbeddingFile.open(file.path)
    if size < 64:
        assert opened is None
        return
    whole = (size - 64) // RECORD
    assert list(opened.keys()) == [key(number) for number in range(whole)]
    assert opened.read(whole, key(whole)) is None
    opened.add(key(9), values(9))
    assert file.path.stat().st_size == 64 + (whole + 1) * RECORD
    assert torch.equal(opened.read(whole, key(9))[0], values(9).float())


@given(place=st.integers(64 + RECORD, 64 + 2 * RECORD - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_matters(tmp_path_factory, place, bit):
    file = EmbeddingFile(tmp_path_factory.mktemp("flip") / "a.cobotemb", SHAPE)
    for number in range(3):
        file.add(key(number), values(number))
    content = bytearray(file.path.read_bytes())
    content[place] ^= 1 << bit
    file.path.write_bytes(content)
    padding = 36 <= place - 64 - RECORD < 64
    assert (file.read(1, key(1)) is None) == (not padding)
    assert torch.equal(file.read(2, key(2))[0], values(2).float())


@given(content=st.binary(max_size=200))
def test_a_foreign_file_is_not_opened(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("foreign") / "a.cobotemb"
    path.write_bytes(content)
    assert EmbeddingFile.open(path) is None


def test_another_version_or_a_changed_shape_is_not_opened(file):
    content = file.path.read_bytes()
    for place, number in ((8, 2), (12, 5)):
        changed = bytearray(content)
        struct.pack_into("<I", changed, place, number)
        file.path.write_bytes(changed)
        assert EmbeddingFile.open(file.path) is None


def test_a_record_is_only_given_for_its_own_key(file):
    assert file.read(1, key(0)) is None
    assert file.read(3, key(3)) is None
