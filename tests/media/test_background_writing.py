"""Writing in a background thread."""

import threading

import pytest

from magicdance_core.media.write import in_background


def test_calls_run_in_order_in_the_background():
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


def test_the_queue_is_bounded():
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
def test_errors_are_raised_and_later_calls_skipped(error):
    done = []

    def do(number):
        if number == 1:
            raise error
        done.append(number)

    with pytest.raises(type(error)), in_background(do) as later:
        for number in range(4):
            later(number)
    assert done == [0]


def test_errors_of_the_block_are_raised_after_queued_calls():
    done = []
    with pytest.raises(ValueError), in_background(done.append) as later:
        later(1)
        raise ValueError
    assert done == [1]
