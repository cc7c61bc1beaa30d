"""Parts of a batch come out in order, whatever runs where, and leave torch's threads as they were."""

import threading

import pytest
import torch

from augment.side_by_side import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("count", "n", "parts"), [(1, 8, 1), (2, 8, 2), (2, 1, 1), (3, 7, 3), (9, 8, 4)])
def test_each_part_has_a_thread_of_its_own_and_its_share_of_torchs(threads, count, n, parts):
    threads(count)
    rows, seen = torch.arange(n).float(), []

    def work(part):
        seen.append((threading.get_ident(), torch.get_num_threads(), len(rows[part])))
        return rows[part] + 1

    found = side_by_side(work, n, CPU)
    assert found.tolist() == (rows + 1).tolist()
    assert len(seen) == parts
    assert (threading.get_ident() in {thread for thread, *_ in seen}) == (parts == 1)
    assert {own for _, own, _ in seen} == {count // parts}
    assert max(each for *_, each in seen) - min(each for *_, each in seen) <= 1
    assert torch.get_num_threads() == count


def test_no_part_keeps_what_gradients_need(threads):
    threads(2)
    weight = torch.ones(4, 1, requires_grad=True)
    assert not side_by_side(lambda part: weight[part] * 2, 4, CPU).requires_grad


def test_an_accelerator_gets_the_batch_whole(threads):
    threads(2)
    seen = []

    def work(part):
        seen.append(part)
        return torch.zeros(8)[part]

    side_by_side(work, 8, torch.device("meta"))
    assert seen == [slice(0, 8)]


def test_a_part_that_fails_is_heard_and_the_threads_are_put_back(threads):
    threads(2)

    def work(part):
        if part.start:
            raise FloatingPointError("not finite")
        return torch.zeros(8)[part]

    with pytest.raises(FloatingPointError, match="not finite"):
        side_by_side(work, 8, CPU)
    assert torch.get_num_threads() == 2
