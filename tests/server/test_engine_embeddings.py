"""The engine on the shared embeddings: kept, on disk, ahead, and apart for each adapter."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from cobot.adapters.attach import attach_adapters
from cobot.adapters.card import AdapterCard
from cobot.adapters.checkpoint import collect_adapter
from cobot.adapters.config import AdapterConfig
from cobot.errors import AdapterError
from cobot.prompts import ObjectPrompts
from cobot.sam.build import build, encoder_shape
from cobot.sam.embedding_disk import EmbeddingDisk
from cobot.sam.embeddings import EmbeddingService
from cobot.sam.segmenter import SliceSegmenter
from cobot.sam.weights import LoadedSam
from cobot.server.engine import SliceEngine
from cobot.server.study import FileStamp, Study
from cobot.volume import Volume

WAIT_S = 30


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    return LoadedSam(build("tiny"), encoder_shape("tiny"), "0" * 64)


@pytest.fixture(scope="module")
def file(loaded):
    config = AdapterConfig.named("lora", train_decoder=False)
    generator = torch.Generator().manual_seed(0)
    handle = attach_adapters(loaded.sam.image_encoder, config, generator)
    made = collect_adapter(handle, AdapterCard("tiny", loaded.sha256))
    handle.detach()
    learned = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator)
        for name, value in made.tensors.items()
    }
    return replace(made, tensors=learned)


class Chosen:
    """An adapter source that does as it is told; the version's name says nothing to the engine."""

    def __init__(self, file=None, required=False):
        self.required = required
        self.use(file)

    def use(self, file, version="v0001"):
        self.file, self.version = file, version if file else None

    def wanted(self):
        return self.version

    def read(self, version):
        assert version == self.version
        return self.file

    def folder(self, version):
        raise AssertionError(version)


@pytest.fixture
def start(loaded):
    """Engines on one service each; their threads end with the test."""
    started = []

    def make(service=None, adapters=None):
        engine = SliceEngine(lambda: SliceSegmenter(loaded), service, 1, adapters)
        started.append(engine)
        return engine

    yield make
    for engine in started:
        engine.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    voxels = np.full((40, 48, 6), -1000, np.int16)
    voxels[8:32, 8:40] = 20
    voxels[14:24, 16:28, 1:5] = 150
    voxels += np.random.default_rng(0).integers(-5, 5, voxels.shape).astype(np.int16)
    stamp = FileStamp(tmp_path_factory.mktemp("study") / "a.nii.gz", 1, 2)
    return Study(Volume(voxels, np.diag([-2.0, -2, 5, 1])), stamp)


def click(engine, study, k=3):
    target = ObjectPrompts("block", np.array([[18, 20, k]]), np.ones(1, bool))
    return engine.segment(study, k, target, "auto")


def test_two_engines_of_one_process_share(start, study):
    service = EmbeddingService()
    first, second = start(service), start(service)
    assert not click(first, study).encoder_cached
    assert click(second, study).encoder_cached


def test_a_study_encoded_before_a_restart_is_not_encoded_again(start, study, tmp_path):
    before = click(start(EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**8))), study)
    after = click(start(EmbeddingService(disk=EmbeddingDisk(tmp_path, 10**8))), study)
    assert (before.encoder_cached, after.encoder_cached) == (False, True)
    assert after.predicted_iou == pytest.approx(before.predicted_iou, abs=0.02)


def test_neighbours_are_there_when_the_annotator_comes(start, study):
    service = EmbeddingService()
    engine = start(service)
    answer = click(engine, study)
    engine.embed_ahead(study, 3, answer.window, "me")
    each = service.memory_used_bytes
    for _ in range(WAIT_S * 100):
        if service.memory_used_bytes == 3 * each:
            break
        threading.Event().wait(0.01)
    assert click(engine, study, 2).encoder_cached
    assert click(engine, study, 4).encoder_cached
    assert not click(engine, study, 1).encoder_cached


def test_an_adapter_in_and_out_again_never_on_anothers_embedding(start, study, file):
    chosen = Chosen()
    engine = start(adapters=chosen)
    base = click(engine, study)
    chosen.use(file)
    adapted = click(engine, study)
    assert (base.adapter, adapted.adapter) == (None, "v0001")
    assert not adapted.encoder_cached
    assert adapted.predicted_iou != base.predicted_iou
    chosen.use(None)
    again = click(engine, study)
    assert again.encoder_cached
    assert again.predicted_iou == base.predicted_iou
    chosen.use(file)
    assert click(engine, study).encoder_cached
    assert click(engine, study).predicted_iou == adapted.predicted_iou


def test_a_click_that_is_being_answered_keeps_its_adapter(start, study, file, monkeypatch):
    chosen = Chosen()
    engine = start(adapters=chosen)
    alone = click(start(), study)
    encoding, swapped = threading.Event(), threading.Event()
    kept = SliceSegmenter.encode

    def encode(self, views):
        if not swapped.is_set():
            encoding.set()
            assert swapped.wait(WAIT_S)
        return kept(self, views)

    monkeypatch.setattr(SliceSegmenter, "encode", encode)
    answers = []
    clicking = threading.Thread(target=lambda: answers.append(click(engine, study)))
    clicking.start()
    assert encoding.wait(WAIT_S)
    chosen.use(file)
    second = threading.Thread(target=lambda: answers.append(click(engine, study)))
    second.start()
    swapped.set()
    clicking.join()
    second.join()
    by_adapter = {answer.adapter: answer.predicted_iou for answer in answers}
    assert by_adapter[None] == alone.predicted_iou
    assert by_adapter["v0001"] != alone.predicted_iou


def test_a_click_while_the_first_adapter_is_read_waits_for_it(start, file):
    chosen = Chosen(file)
    engine = start(adapters=chosen)
    reading, go_on = threading.Event(), threading.Event()

    def slow_read(version):
        reading.set()
        assert go_on.wait(WAIT_S)
        return file

    chosen.read = slow_read
    found = []
    askers = [threading.Thread(target=lambda: found.append(engine.in_use())) for _ in range(2)]
    askers[0].start()
    assert reading.wait(WAIT_S)
    askers[1].start()
    askers[1].join(1)
    assert not found, "nobody is answered by the base in the meantime"
    go_on.set()
    for asker in askers:
        asker.join(WAIT_S)
    assert [one.adapter for one in found] == ["v0001", "v0001"]


def test_a_version_that_does_not_fit_leaves_the_one_in_use_and_every_answer_says_so(
    start, study, file
):
    chosen = Chosen(file)
    engine = start(adapters=chosen)
    before = click(engine, study)
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    chosen.use(foreign, "v0002")
    for _ in range(2):
        answer = click(engine, study)
        assert (answer.adapter, answer.predicted_iou) == ("v0001", before.predicted_iou)
        assert answer.trouble.startswith("Answered by adapter v0001. Adapter v0002: ")
        assert "made for tiny with base weights SHA-256 1111" in answer.trouble
    chosen.use(file)
    assert click(engine, study).trouble == ""


def test_a_first_version_that_does_not_fit_leaves_the_base(start, study, file):
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    answer = click(start(adapters=Chosen(foreign)), study)
    assert answer.adapter is None
    assert "the base without an adapter" in answer.trouble


def test_a_version_that_the_user_named_is_answered_with_or_nothing_is(start, study, file):
    assert click(start(adapters=Chosen(file, required=True)), study).adapter == "v0001"
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    with pytest.raises(AdapterError, match="made for tiny with base weights SHA-256 1111"):
        click(start(adapters=Chosen(foreign, required=True)), study)


def test_a_named_version_that_does_not_fit_is_refused_to_whoever_asks_meanwhile(start, file):
    foreign = replace(file, card=replace(file.card, base_sha256="1" * 64))
    refusing, go_on = threading.Event(), threading.Event()

    class SlowToRefuse(Chosen):
        @property
        def required(self):
            if threading.current_thread() is first and read.is_set():
                refusing.set()
                assert go_on.wait(WAIT_S)
            return True

        @required.setter
        def required(self, _):
            pass

        def read(self, version):
            read.set()
            return foreign

    said = []

    def ask():
        try:
            said.append(engine.in_use())
        except AdapterError as error:
            said.append(str(error))

    read = threading.Event()
    first, second = threading.Thread(target=ask), threading.Thread(target=ask)
    engine = start(adapters=SlowToRefuse(foreign))
    first.start()
    assert refusing.wait(WAIT_S)
    second.start()
    second.join(1)
    assert not said, "not by the base"
    go_on.set()
    for asker in (first, second):
        asker.join(WAIT_S)
    assert ["Adapter v0001: " in one for one in said] == [True, True]
