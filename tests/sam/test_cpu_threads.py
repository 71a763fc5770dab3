import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cobot.sam.cpu_threads import FEW_PROMPTS, decoding_threads, one_thread, settle_thread


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_and_then_as_many_as_before():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert torch.get_num_threads() == 3


def test_few_prompts_on_a_cpu_take_one_thread():
    cpu = torch.device("cpu")
    for device, prompts, expected in (
        (cpu, 1, 1),
        (cpu, FEW_PROMPTS, 1),
        (cpu, FEW_PROMPTS + 1, 3),
        (torch.device("cuda"), 1, 3),
    ):
        with decoding_threads(device, prompts):
            assert torch.get_num_threads() == expected


def test_a_thread_settled_meanwhile_keeps_all_its_threads():
    started = threading.Event()

    def work():
        started.set()
        settle_thread()
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_thread():
            settled = pool.submit(work)
            assert started.wait(10)
            with pytest.raises(TimeoutError):
                settled.result(timeout=0.05)
        assert settled.result(timeout=10) == 3


def test_decoders_take_turns():
    inside = []

    def work():
        with one_thread():
            inside.append(1)
            seen = len(inside), torch.get_num_threads()
            inside.pop()
        return (*seen, torch.get_num_threads())

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(work) for _ in range(40)]
        assert {answer.result(timeout=10) for answer in answers} == {(1, 1, 3)}
