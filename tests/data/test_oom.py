import weakref

import pytest
import torch

from data.oom import in_chunks


def small(most, tried):
    """Work on a device that holds only so many at a time."""

    def work(part):
        numbers = list(range(20))[part]
        tried.append(numbers)
        if len(numbers) > most:
            raise torch.OutOfMemoryError(f"{len(numbers)}")
        return numbers

    return work


def test_what_fits_is_done_as_asked():
    tried = []
    found, chunk = in_chunks(small(9, tried), 7, 3)
    assert found == tried == [[0, 1, 2], [3, 4, 5], [6]]
    assert chunk == 3


def test_chunks_are_halved_until_they_fit_and_nothing_is_done_twice():
    tried = []
    found, chunk = in_chunks(small(2, tried), 5, 16)
    assert tried == [[0, 1, 2, 3, 4], [0, 1], [2, 3], [4]]  # no chunk is larger than what there is
    assert found == tried[1:]
    assert chunk == 2


def test_where_not_even_one_fits_it_is_said():
    tried = []
    with pytest.raises(torch.OutOfMemoryError):
        in_chunks(small(0, tried), 5, 4)
    assert [len(numbers) for numbers in tried] == [4, 2, 1]


def test_other_failures_are_not_taken_for_a_lack_of_memory():
    with pytest.raises(ZeroDivisionError):
        in_chunks(lambda _part: 1 // 0, 5, 4)


def test_what_was_computed_is_let_go_before_less_is_tried():
    class Activations:
        pass

    held = []

    def work(part):
        assert not held or held[-1]() is None
        activations = Activations()
        held.append(weakref.ref(activations))
        if part.stop - part.start > 1:
            raise torch.OutOfMemoryError
        return part.start

    assert in_chunks(work, 4, 4) == ([0, 1, 2, 3], 1)
    assert len(held) == 6
