"""The service: one encoding for everyone, in memory, on disk and ahead of time."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cobot.sam.answer import SliceEmbedding
from cobot.sam.embedding_disk import EmbeddingDisk
from cobot.sam.embeddings import EmbeddingService, WantedSlice
from cobot.sam.frame import SamFrame
from cobot.sam.segmenter import SliceView
from hypothesis import given
from hypothesis import strategies as st

FRAME = SamFrame.fit((16, 16), (1.0, 1.0), 128)
BYTES = 4 * 4 * 8 * 8
WAIT_S = 20


class Encoder:
    """Counts what it encodes, in which batches, and may be held or made to fail."""

    def __init__(self, name="model"):
        self.device = torch.device("cpu")
        self.embedding_key = name
        self.batches = []
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()
        self.error = None

    def view(self, number):
        key = hashlib.sha256(f"{self.embedding_key}/{number}".encode()).hexdigest()
        return SliceView(np.full((16, 16), number, np.float32), FRAME, key)

    def encode(self, views):
        self.batches.append([int(view.unit[0, 0]) for view in views])
        self.begun.release()
        assert self.go.wait(WAIT_S)
        if self.error:
            raise self.error
        batch = torch.cat([self.features(view.unit[0, 0]) for view in views])
        return [
            SliceEmbedding(batch[index : index + 1], view.frame, view.key)
            for index, view in enumerate(views)
        ]

    def features(self, number):
        seed = int(number) + sum(self.embedding_key.encode())
        return torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(seed))

    def wanted(self, *numbers, volume="a"):
        return [WantedSlice(self.view(number), volume) for number in numbers]

    @property
    def encoded(self):
        return [number for batch in self.batches for number in batch]


@pytest.fixture
def service():
    made = EmbeddingService()
    yield made
    made.close()


@pytest.fixture
def encoder():
    return Encoder()


def sources(found):
    return [one.source for one in found]


def test_a_slice_is_encoded_once_and_given_as_it_was(service, encoder):
    first = service.get(encoder, *encoder.wanted(1))
    again = service.get(encoder, *encoder.wanted(1))
    assert (first.source, first.cached) == ("encoder", False)
    assert (again.source, again.cached) == ("memory", True)
    assert again.embedding is first.embedding
    assert torch.equal(first.embedding.features, encoder.features(1))
    assert encoder.batches == [[1]]


def test_of_many_the_missing_share_one_batch(service, encoder):
    service.get(encoder, *encoder.wanted(2))
    found = service.get_many(encoder, encoder.wanted(1, 2, 3, 1))
    assert encoder.batches == [[2], [1, 3]]
    assert sources(found) == ["encoder", "memory", "encoder", "shared"]
    for one, number in zip(found, (1, 2, 3, 1), strict=True):
        assert torch.equal(one.embedding.features, encoder.features(number))
    assert service.get_many(encoder, []) == []


def test_models_and_adapters_never_share(service):
    one, other = Encoder("base/adapter-1"), Encoder("base/adapter-2")
    for encoder in (one, other):
        found = service.get(encoder, *encoder.wanted(1))
        assert torch.equal(found.embedding.features, encoder.features(1))
    assert (one.encoded, other.encoded) == ([1], [1])


def test_memory_is_counted_without_the_rest_of_a_batch(encoder):
    service = EmbeddingService(memory_bytes=3 * BYTES)
    service.get_many(encoder, encoder.wanted(*range(5)))
    assert service.memory_used_bytes == 3 * BYTES
    kept = service.get(encoder, *encoder.wanted(4)).embedding
    assert kept.features.untyped_storage().nbytes() == BYTES
    assert sources(service.get_many(encoder, encoder.wanted(2, 3, 4))) == ["memory"] * 3
    service.get(encoder, *encoder.wanted(2))
    service.get(encoder, *encoder.wanted(9))
    assert service.get(encoder, *encoder.wanted(2)).cached
    assert not service.get(encoder, *encoder.wanted(3)).cached


@given(
    limit=st.integers(0, 6), asked=st.lists(st.lists(st.integers(0, 7), max_size=4), max_size=20)
)
def test_whatever_is_asked_answers_are_right_and_the_limit_holds(limit, asked):
    encoder = Encoder()
    service = EmbeddingService(memory_bytes=limit * BYTES)
    for numbers in asked:
        found = service.get_many(encoder, encoder.wanted(*numbers))
        for number, one in zip(numbers, found, strict=True):
            assert torch.equal(one.embedding.features, encoder.features(number))
        assert service.memory_used_bytes <= limit * BYTES
        recent = list(dict.fromkeys(reversed(encoder.encoded)))[:limit]
        assert service.memory_used_bytes >= min(1, len(recent)) * BYTES * min(1, limit)


def test_requests_for_one_slice_at_one_time_encode_it_once(service, encoder):
    encoder.go.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(service.get, encoder, *encoder.wanted(1)) for _ in range(8)]
        assert encoder.begun.acquire(timeout=WAIT_S)
        encoder.go.set()
        found = [one.result(WAIT_S) for one in asked]
    assert encoder.batches == [[1]]
    assert len({id(one.embedding) for one in found}) == 1
    assert sources(found).count("encoder") == 1


def test_batches_that_overlap_wait_for_each_other_without_a_deadlock(service, encoder):
    encoder.go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(service.get_many, encoder, encoder.wanted(1, 2))
        assert encoder.begun.acquire(timeout=WAIT_S)
        second = pool.submit(service.get_many, encoder, encoder.wanted(2, 3, 1))
        assert encoder.begun.acquire(timeout=WAIT_S)
        third = pool.submit(service.get_many, encoder, encoder.wanted(3, 2))
        encoder.go.set()
        found = [one.result(WAIT_S) for one in (first, second, third)]
    assert sorted(encoder.encoded) == [1, 2, 3]
    for numbers, answers in zip(((1, 2), (2, 3, 1), (3, 2)), found, strict=True):
        for number, one in zip(numbers, answers, strict=True):
            assert torch.equal(one.embedding.features, encoder.features(number))


def test_a_failure_reaches_all_who_wait_and_is_not_kept(service, encoder):
    encoder.go.clear()
    encoder.error = RuntimeError("out of memory")
    with ThreadPoolExecutor(4) as pool:
        owner = pool.submit(service.get_many, encoder, encoder.wanted(1, 2))
        assert encoder.begun.acquire(timeout=WAIT_S)
        others = [pool.submit(service.get, encoder, *encoder.wanted(n)) for n in (1, 2, 1)]
        while service._ahead._requests < 4:
            encoder.begun.acquire(timeout=0.001)
        encoder.go.set()
        for asked in (owner, *others):
            with pytest.raises(RuntimeError, match="out of memory"):
                asked.result(WAIT_S)
    encoder.error = None
    assert sources(service.get_many(encoder, encoder.wanted(1, 2))) == ["encoder", "encoder"]


def test_the_disk_outlives_the_process_in_bf16(tmp_path, encoder):
    first = EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**6))
    assert sources(first.get_many(encoder, encoder.wanted(1, 2))) == ["encoder"] * 2
    assert torch.equal(
        first.get(encoder, *encoder.wanted(1)).embedding.features, encoder.features(1)
    )
    later = EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**6))
    found = later.get_many(encoder, encoder.wanted(1, 3, 2))
    assert sources(found) == ["disk", "encoder", "disk"]
    assert found[0].cached
    assert torch.equal(found[0].embedding.features, encoder.features(1).bfloat16().float())
    assert found[0].embedding.frame == FRAME
    assert sources(later.get_many(encoder, encoder.wanted(1, 2, 3))) == ["memory"] * 3
    assert encoder.batches == [[1, 2], [3]]


def test_volumes_and_models_have_files_of_their_own(tmp_path, encoder):
    service = EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**6))
    service.get_many(encoder, encoder.wanted(1, 2) + encoder.wanted(3, volume="b"))
    other = Encoder("another")
    service.get_many(other, other.wanted(1))
    assert len(list(tmp_path.glob("*.cobotemb"))) == 3


def test_what_left_the_memory_comes_from_the_disk(tmp_path, encoder):
    service = EmbeddingService(memory_bytes=BYTES, disk=EmbeddingDisk(tmp_path, 10**6))
    for number in (1, 2):
        service.get(encoder, *encoder.wanted(number))
    assert service.get(encoder, *encoder.wanted(1)).source == "disk"
    assert encoder.encoded == [1, 2]


def test_a_damaged_disk_costs_another_encoding_and_nothing_else(tmp_path, encoder):
    EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**6)).get(encoder, *encoder.wanted(1))
    (path,) = tmp_path.glob("*.cobotemb")
    path.write_bytes(path.read_bytes()[:-7])
    for source in ("encoder", "disk"):
        service = EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**6))
        assert service.get(encoder, *encoder.wanted(1)).source == source


def test_the_default_folder_is_in_the_home(monkeypatch, tmp_path, encoder):
    monkeypatch.setenv("COBOT_HOME", str(tmp_path))
    EmbeddingService.in_home(disk_bytes=0).get(encoder, *encoder.wanted(1))
    assert list(tmp_path.iterdir()) == []
    service = EmbeddingService.in_home()
    service.get(encoder, *encoder.wanted(1))
    assert len(list((tmp_path / "embeddings").glob("*.cobotemb"))) == 1


def test_neighbours_come_ahead_one_by_one_after_the_request(service, encoder):
    with service.requests_first():
        service.prefetch("me", encoder, iter(encoder.wanted(4, 2, 5)))
        service.get(encoder, *encoder.wanted(3))
    for _ in range(4):
        assert encoder.begun.acquire(timeout=WAIT_S)
    service.close()
    assert encoder.batches == [[3], [4], [2], [5]]
    assert sources(service.get_many(encoder, encoder.wanted(2, 3, 4, 5))) == ["memory"] * 4


def test_moving_on_cancels_and_a_request_waits_for_one_slice_at_most(service, encoder):
    encoder.go.clear()
    service.prefetch("me", encoder, iter(encoder.wanted(*range(10, 20))))
    assert encoder.begun.acquire(timeout=WAIT_S)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.get, encoder, *encoder.wanted(50))
        assert encoder.begun.acquire(timeout=WAIT_S)
        service.prefetch("me", encoder, iter(encoder.wanted(51)))
        encoder.go.set()
        assert asked.result(WAIT_S).source == "encoder"
    assert encoder.begun.acquire(timeout=WAIT_S)
    service.close()
    assert encoder.encoded == [10, 50, 51]


def test_a_request_for_the_slice_being_prefetched_shares_it(service, encoder):
    encoder.go.clear()
    service.prefetch("me", encoder, iter(encoder.wanted(1, 2)))
    assert encoder.begun.acquire(timeout=WAIT_S)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(service.get, encoder, *encoder.wanted(1))
        while not service._ahead._requests:
            encoder.begun.acquire(timeout=0.001)
        service.cancel_prefetch("me")
        encoder.go.set()
        assert asked.result(WAIT_S).source == "shared"
    service.close()
    assert encoder.encoded == [1]


def test_a_failing_prefetch_hurts_nobody(service, encoder):
    encoder.error = RuntimeError("out of memory")
    service.prefetch("me", encoder, iter(encoder.wanted(1, 2)))
    assert encoder.begun.acquire(timeout=WAIT_S)
    service.close()
    encoder.error = None
    assert encoder.encoded == [1]
    assert service.get(encoder, *encoder.wanted(1)).source == "encoder"
