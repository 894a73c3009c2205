import threading

import pytest

from magicdance_core.media.write import in_background


def test_calls_are_done_in_order_beside_the_caller():
    done, go = [], threading.Event()

    def do(number):
        go.wait(20)
        done.append((number, threading.current_thread() is threading.main_thread()))

    with in_background(do) as later:
        for number in range(5):
            later(number)
        assert done == []  # the caller went on
        go.set()
    assert done == [(number, False) for number in range(5)]


def test_no_more_than_some_wait():
    started, go = [], threading.Event()

    def do(number):
        started.append(number)
        go.wait(20)

    with in_background(do, waiting=2) as later:
        later(0)
        later(1)
        timer = threading.Timer(0.05, go.set)
        timer.start()
        later(2)  # waits for the first
        assert go.is_set()
    assert started == [0, 1, 2]


@pytest.mark.parametrize("error", [OSError("no space"), KeyboardInterrupt()])
def test_what_fails_comes_out_and_nothing_follows(error):
    done = []

    def do(number):
        if number == 1:
            raise error
        done.append(number)

    with pytest.raises(type(error)), in_background(do) as later:
        for number in range(4):
            later(number)
    assert done == [0]


def test_what_the_caller_raises_comes_out_after_what_was_asked_for_is_done():
    done = []
    with pytest.raises(ValueError), in_background(done.append) as later:
        later(1)
        raise ValueError
    assert done == [1]
