"""The times of frames: the rate of a whole clip, and resampling to an even one."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError
from ..limits import MAX_FRAMES, plausible_fps

# Seconds that a frame is repeated at most beside frames that could not be decoded; farther away there is none, so that
# the pose is interpolated, not frozen.
MAX_HOLD = 0.12
# Frames this near to an even rate, in seconds, are shown at it as they are; nobody sees the difference.
JITTER = 0.1
# A clip with larger differences is resampled to its usual rate, but at least to this one.
SLOWEST = 10.0
# Rates that files are made with, and how near a clip's times must be, in seconds (many containers count milliseconds).
USUAL_RATES = (*range(1, 61), 90, 100, 120, 144, 240, *(1000 / 1001 * rate for rate in (24, 30, 48, 60, 120)))
NEAR = 0.0015


class Timed(NamedTuple):
    """A frame, shown from `time` (seconds since the first frame) for `duration` seconds.

    The next frame begins where this one ends, unless something between them could not be decoded.
    """

    time: float
    picture: Any  # uint8 [H, W, 3] RGB
    duration: float


class Pace(NamedTuple):
    """How the frames of a clip are shown at an even rate.

    fps: frames per second. repeats: how often each frame is shown; None if the clip has to be resampled.
    """

    fps: float
    repeats: tuple[int, ...] | None


def video_pace(times: Sequence[float], end: float) -> Pace | None:
    """Return the rate of a video from the times of its frames, in seconds since the first; None if it has no duration.

    end: when the last frame ends. Frames that are never more than JITTER away from the average rate are shown once
    each, otherwise the clip has held pictures and is to be resampled.
    """
    rate = plausible_fps(len(times) / end) if end > 0 else None
    if rate is None:
        return None
    grid = np.arange(len(times))
    errors = {r: np.abs(np.asarray(times) - grid / r).max() for r in USUAL_RATES if abs(r / rate - 1) < 0.03}
    usual = min(errors, key=lambda r: errors[r], default=rate)
    if errors.get(usual, 1.0) <= NEAR:
        return Pace(float(usual), (1,) * len(times))
    if np.abs(np.asarray(times) - grid / rate).max() <= JITTER:
        return Pace(rate, (1,) * len(times))
    return Pace(_usual_pace(np.diff(times)), None)


def animation_pace(durations: Sequence[float], unit: float) -> Pace:
    """Return the rate of an animation from the durations of its frames in milliseconds.

    unit: milliseconds that they are rounded to. Writers join equal frames to a longer one, so that the rate is the
    one at which all frames begin and end at whole numbers, rounded to the unit, and longer frames are repeated.
    """
    if len(set(durations)) == 1:
        return Pace(1000 / durations[0], (1,) * len(durations))
    ends = np.cumsum(durations)
    found, best = None, np.inf
    for rate in (*USUAL_RATES, 1000 * len(durations) / ends[-1], 1000 / min(durations)):
        numbers = np.round(ends * rate / 1000)
        repeats = np.diff(numbers, prepend=0)
        error = np.abs(ends - numbers * 1000 / rate).max()
        if repeats.min() < 1 or error > unit / 2 + 0.01 or numbers[-1] > MAX_FRAMES:
            continue
        cost = error / unit + 2 * numbers[-1] / len(durations)  # the coarsest grid that fits
        if cost < best:
            found, best = Pace(float(rate), tuple(repeats.astype(int).tolist())), cost
    return found or Pace(_usual_pace(np.asarray(durations) / 1000), None)


def _usual_pace(intervals: np.ndarray) -> float:
    usual = 1 / max(median(intervals.tolist()), 1e-3)
    nearest = min(USUAL_RATES, key=lambda rate: abs(rate / usual - 1))
    return float(max(SLOWEST, nearest if abs(nearest / usual - 1) < 0.02 else usual))


def resample(timed: Iterable[Timed], fps: float) -> Iterator[np.ndarray | None]:
    """Yield for each time k / fps, until the last frame ends, the frame that is shown then; see `resample_numbers`."""
    for _, picture in resample_numbers(timed, fps):
        yield picture


def resample_numbers(timed: Iterable[Timed], fps: float) -> Iterator[tuple[int | None, Any]]:
    """Yield for each time k / fps the number and the picture of the frame that is shown then, (None, None) in a gap.

    A frame is shown until the next one, which begins up to half an interval (of the two rates' shorter one) early, so
    that rounded times do not matter. Beside a gap frames are held for MAX_HOLD seconds.
    Raises InputError if the frames last longer than limits.py allows.
    """
    k, number, previous = 0, -1, None
    for number, frame in enumerate(timed):
        if (frame.time + frame.duration) * fps > MAX_FRAMES + 1:
            length, allowed = frame.time + frame.duration, MAX_FRAMES / fps
            raise InputError(f"The video is {length:.0f} seconds long: cut it to {allowed:.0f} or less.")
        if previous is not None:
            ends, begins = previous.time + previous.duration, frame.time
            if begins - ends > 1e-6:  # a gap
                while k / fps < begins:
                    time = k / fps
                    if time < max(ends, previous.time + MAX_HOLD) and (time < ends or time - ends <= begins - time):
                        yield number - 1, previous.picture
                    else:
                        yield (number, frame.picture) if begins - time <= MAX_HOLD else (None, None)
                    k += 1
            else:
                switch = begins - min(begins - previous.time, 1 / fps) / 2
                while k / fps < switch - 1e-9:
                    yield number - 1, previous.picture
                    k += 1
        previous = frame
    if previous is not None:
        for _ in range(max(round((previous.time + previous.duration) * fps), 1, k) - k):
            yield number, previous.picture
