from collections import Counter
from itertools import product

import pytest

from magicdance_core.choices import WINDOW_WEIGHTS
from magicdance_core.errors import InputError
from magicdance_core.sampling.windows import Windows

SIZES = [(1, 0), (2, 0), (2, 1), (4, 3), (8, 2), (16, 4), (16, 0), (16, 12), (5, 2)]
FRAMES = [*range(1, 28), 33, 47, 64, 101]


def test_thousands_of_cases():
    cases = product(SIZES, FRAMES, ((1,), (2,), (3,), (1, 4)), (False, True), (False, True), range(3))
    number = 0
    for (length, overlap), frames, strides, closed, shift, step in cases:
        number += 1
        windows = Windows(length, overlap, strides, shift, closed)
        stride = strides[step % len(strides)]
        seen, done = Counter(), Counter()
        found = list(windows.at(step, frames))
        assert len(found) == windows.count(step, frames)
        for window in found:
            assert len(set(window.frames)) == len(window.frames) == len(window.weights) <= length  # none twice
            assert min(window.weights) > 0 and 0 <= min(window.frames) and max(window.frames) < frames
            seen.update(window.frames)
            assert not set(window.frames) & set(done)  # what is done comes no more
            done.update(window.done)
            if not closed:
                steps = {b - a for a, b in zip(window.frames, window.frames[1:])}
                assert steps <= {stride if frames >= stride * length else min(stride, max(1, frames // length))}
            if frames >= length:
                assert len(window.frames) == length or stride > 1
        assert set(seen) == set(range(frames))  # none missed
        assert done == Counter(range(frames))
        if not closed:
            firsts = [window.frames[0] for window in found]
            assert firsts == sorted(firsts)
    assert number > 6000


def frames_of(windows, step, frames):
    return [(window.frames[0], window.frames[-1]) for window in windows.at(step, frames)]


def test_windows_begin_at_the_first_frame_and_end_at_the_last():
    assert frames_of(Windows(shift=False), 3, 50) == [(0, 15), (12, 27), (24, 39), (34, 49)]
    assert frames_of(Windows(16, 4), 1, 50) == [(0, 15), (7, 22), (19, 34), (31, 46), (34, 49)]
    assert frames_of(Windows(16, 4), 0, 10) == frames_of(Windows(16, 4), 5, 10) == [(0, 9)]


def test_borders_visit_every_frame():
    windows = Windows(16, 4)
    assert sorted(windows.shift_at(step) for step in range(windows.hop)) == list(range(windows.hop))
    assert all(windows.shift_at(step + 12) == windows.shift_at(step) for step in range(12))


def test_only_a_closed_loop_goes_around():
    around = Windows(8, 2, closed=True)
    assert [window.frames for window in around.at(0, 12)] == [tuple(range(8)), (6, 7, 8, 9, 10, 11, 0, 1)]
    assert any(11 in w.frames and 0 in w.frames for w in around.at(1, 12))
    assert not any(11 in w.frames and 0 in w.frames for s in range(9) for w in Windows(8, 2).at(s, 12))


def test_strides_reach_far_frames():
    windows = list(Windows(4, 0, (1, 3), shift=False).at(1, 24))
    assert windows[0].frames == (0, 3, 6, 9) and windows[-1].frames[-1] == 23
    assert next(Windows(4, 0, (1, 3)).at(0, 24)).frames == (0, 1, 2, 3)


def test_weights():
    shape = {kind: next(Windows(6, 2, weights=kind, shift=False).at(0, 20)).weights for kind in WINDOW_WEIGHTS}
    assert shape["flat"] == (1,) * 6
    assert shape["pyramid"] == (1, 2, 3, 3, 2, 1)
    assert shape["ramps"] == pytest.approx((1, 1, 1, 1, 2 / 3, 1 / 3))
    middle = list(Windows(6, 2, weights="ramps", shift=False).at(0, 20))[1]
    assert middle.weights == pytest.approx((1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3))


def test_ramps_of_two_windows_add_up_to_one():
    for step, closed in product(range(5), (False, True)):
        total = Counter()
        for window in Windows(8, 3, weights="ramps", closed=closed).at(step, 40):
            for frame, weight in zip(window.frames, window.weights):
                total[frame] += weight
        if step == 0:
            assert all(weight == pytest.approx(1) for frame, weight in total.items() if frame < 30)
        assert min(total.values()) > 0.4


def test_published_averaging():
    """16 frames, overlap 4, a random start around the loop at each step."""
    windows = Windows(16, 4, closed=True, weights="flat", random=7)
    starts = [next(windows.at(step, 60)).frames[0] for step in range(20)]
    assert len(set(starts)) > 10
    assert starts == [next(windows.at(step, 60)).frames[0] for step in range(20)]
    other = Windows(16, 4, closed=True, weights="flat", random=8)
    assert starts != [next(other.at(step, 60)).frames[0] for step in range(20)]
    for step in range(20):
        seen = Counter(frame for window in windows.at(step, 60) for frame in window.frames)
        assert sorted(Counter(seen.values())) == [1, 2] and sum(seen.values()) == 5 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "context length is 0"),
        ({"length": 8, "overlap": 8}, "overlap from 0 to 7"),
        ({"overlap": -1}, "overlap is -1"),
        ({"strides": (0,)}, "strides"),
        ({"strides": ()}, "strides"),
        ({"weights": "round"}, "use one of pyramid, flat, ramps"),
        ({"random": 1}, "closed loop"),
    ],
)
def test_what_makes_no_windows(options, message):
    with pytest.raises(InputError, match=message):
        Windows(**options)
