import weakref

import pytest
import torch

from data.oom import with_oom_backoff


def small(most, tried):
    """Work on a device whose memory holds `most` images."""

    def work(part):
        numbers = list(range(20))[part]
        tried.append(numbers)
        if len(numbers) > most:
            raise torch.OutOfMemoryError(f"{len(numbers)}")
        return numbers

    return work


def test_chunks_that_fit_keep_their_size():
    tried = []
    found, chunk = with_oom_backoff(small(9, tried), 7, 3)
    assert found == tried == [[0, 1, 2], [3, 4, 5], [6]]
    assert chunk == 3


def test_chunks_are_halved_until_they_fit_and_nothing_is_done_twice():
    tried = []
    found, chunk = with_oom_backoff(small(2, tried), 5, 16)
    assert tried == [[0, 1, 2, 3, 4], [0, 1], [2, 3], [4]]  # no chunk is larger than what there is
    assert found == tried[1:]
    assert chunk == 2


def test_a_single_image_that_does_not_fit_is_an_error():
    tried = []
    with pytest.raises(torch.OutOfMemoryError):
        with_oom_backoff(small(0, tried), 5, 4)
    assert [len(numbers) for numbers in tried] == [4, 2, 1]


def test_other_errors_are_raised():
    with pytest.raises(ZeroDivisionError):
        with_oom_backoff(lambda _part: 1 // 0, 5, 4)


def test_a_failed_chunk_is_freed_before_a_smaller_one_is_tried():
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

    assert with_oom_backoff(work, 4, 4) == ([0, 1, 2, 3], 1)
    assert len(held) == 6
