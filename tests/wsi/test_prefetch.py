"""A generator in another thread gives the same items, errors and ending as here."""

import threading
import time

import pytest

from wsss_mm.wsi.prefetch import prefetch, worked


def _count(stop, seen=None):
    for number in range(stop):
        if seen is not None:
            seen.append(number)
        yield number


@pytest.mark.parametrize("depth", [0, 1, 3, 100])
def test_items_come_in_order(depth):
    assert list(prefetch(_count(50), depth)) == list(range(50))


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_where_its_item_would_have(depth):
    def failing():
        yield 1
        raise ValueError("here")

    items = prefetch(failing(), depth)
    assert next(items) == 1
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_never_further_ahead_than_depth():
    seen = []
    items = prefetch(_count(100, seen), 3)
    next(items)
    time.sleep(0.3)
    assert len(seen) <= 1 + 3 + 1  # taken, waiting, in the generator's hand
    items.close()


def test_closing_ends_the_thread_and_the_generator():
    closed, before = [], threading.active_count()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(True)

    items = prefetch(prefetch(endless(), 2), 2)
    next(items)
    items.close()
    assert closed == [True]
    assert threading.active_count() == before


class TestWorked:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_order_is_kept(self, workers):
        def slower_at_first(number):
            time.sleep(0.02 if number % 3 == 0 else 0)
            return -number

        assert list(worked(_count(20), slower_at_first, workers)) == [(number, -number) for number in range(20)]

    def test_as_many_at_the_same_time_as_asked_for(self):
        together = threading.Barrier(3)
        assert len(list(worked(_count(9), lambda _: together.wait(5), 3))) == 9

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_error_comes_where_its_item_would_have(self, workers):
        made = worked(_count(5), lambda number: 1 // (2 - number), workers)
        assert [next(made), next(made)] == [(0, 0), (1, 1)]
        with pytest.raises(ZeroDivisionError):
            next(made)

    def test_closing_ends_the_threads(self):
        before = threading.active_count()
        made = worked(_count(1000), lambda number: number, 2)
        next(made)
        made.close()
        assert threading.active_count() == before
