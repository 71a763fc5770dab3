import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from cobot.sam.cpu_threads import MOST_LANES, one_thread_each, settle_thread, side_by_side

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_thread_and_then_as_many_as_before():
    with one_thread_each(CPU) as lanes:
        assert (torch.get_num_threads(), lanes) == (1, 3)
    assert torch.get_num_threads() == 3
    with pytest.raises(KeyError), one_thread_each(CPU):
        raise KeyError
    assert torch.get_num_threads() == 3
    torch.set_num_threads(MOST_LANES + 1)
    with one_thread_each(CPU) as lanes:
        assert lanes == MOST_LANES


def test_a_gpu_changes_nothing():
    with one_thread_each(torch.device("cuda")) as lanes:
        assert (torch.get_num_threads(), lanes) == (3, 1)


def test_pieces_go_side_by_side_by_one_thread_each():
    meeting = threading.Barrier(3, timeout=10)

    def work(piece):
        meeting.wait()
        return piece, torch.get_num_threads(), threading.get_ident()

    with one_thread_each(CPU):
        answers = side_by_side(work, "abc")
    assert [answer[:2] for answer in answers] == [("a", 1), ("b", 1), ("c", 1)]
    assert len({answer[2] for answer in answers}) == 3


@pytest.mark.parametrize("pieces", ["a", ""])
def test_what_needs_no_other_thread_takes_none(pieces):
    def work(_):
        return threading.get_ident()

    here = [threading.get_ident()] * len(pieces)
    with one_thread_each(CPU):
        assert side_by_side(work, pieces) == here
    with one_thread_each(torch.device("cuda")):
        assert side_by_side(work, "abc") == 3 * [threading.get_ident()]
    assert side_by_side(work, "abc") == 3 * [threading.get_ident()]


def test_pieces_of_a_piece_stay_with_its_thread():
    def work(_):
        return {threading.get_ident(), *side_by_side(lambda _: threading.get_ident(), "abc")}

    with one_thread_each(CPU):
        assert all(len(threads) == 1 for threads in side_by_side(work, "abcdef"))
        meeting = threading.Barrier(3, timeout=10)
        assert side_by_side(lambda _: meeting.wait() >= 0, "abc") == [True] * 3, "free again"


def test_nobody_waits_for_a_thread_that_comes_too_late():
    """Two helpers are held up by the first pieces; the caller alone does the rest."""
    rest = threading.Event()

    def work(piece):
        if threading.current_thread() is not threading.main_thread():
            assert rest.wait(10)
        if piece == 9:
            rest.set()
        return piece

    with one_thread_each(CPU):
        assert side_by_side(work, range(10)) == list(range(10))


def test_threads_take_over_whether_gradients_are_wanted():
    weight, meeting = torch.ones(1, requires_grad=True), threading.Barrier(3, timeout=10)

    def work(_):
        meeting.wait()
        product = 2 * weight
        return product.requires_grad, product.is_inference()

    for mode, expected in (
        (torch.enable_grad, (True, False)),
        (torch.no_grad, (False, False)),
        (torch.inference_mode, (False, True)),
    ):
        with one_thread_each(CPU), mode():
            assert side_by_side(work, "abc") == [expected] * 3


@pytest.mark.parametrize("pieces", [[1, 0, 2], [0], [0, 0, 0, 0]])
def test_a_failing_piece_fails_the_whole(pieces):
    with one_thread_each(CPU):
        with pytest.raises(ZeroDivisionError):
            side_by_side(lambda piece: 1 / piece, pieces)
        assert side_by_side(lambda piece: -piece, [1, 2, 3]) == [-1, -2, -3]


def test_a_thread_settled_meanwhile_keeps_all_its_threads():
    started = threading.Event()

    def work():
        started.set()
        settle_thread()
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        with one_thread_each(CPU):
            settled = pool.submit(work)
            assert started.wait(10)
            with pytest.raises(TimeoutError):
                settled.result(timeout=0.05)
        assert settled.result(timeout=10) == 3


def test_decoders_take_turns():
    inside = []

    def work():
        with one_thread_each(CPU):
            inside.append(1)
            seen = len(inside), torch.get_num_threads()
            inside.pop()
        return (*seen, torch.get_num_threads())

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(work) for _ in range(40)]
        assert {answer.result(timeout=10) for answer in answers} == {(1, 1, 3)}
