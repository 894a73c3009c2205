"""Context windows over long sequences: frames that a motion module sees together at a step, and their weights.

A window follows from its number and the step, so a video of any length needs no list of them. Windows wrap around the
ends only in a closed loop; every frame is covered, and none occurs twice in a window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from math import ceil, gcd
from typing import Literal

import numpy as np

from ..choices import WINDOW_WEIGHTS
from ..errors import InputError

WeightKind = Literal["pyramid", "flat", "ramps"]


@dataclass(frozen=True)
class Window:
    """Frames that are seen together, in order, each with its weight among all windows of the step.

    done: frames that no later window of the step contains.
    """

    frames: tuple[int, ...]
    weights: tuple[float, ...]
    done: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """Layout of the context windows of a run.

    length, overlap: of windows, in frames. strides: step s takes every `strides[s % n]`-th frame, so that distant
    frames see each other. shift: windows start at another frame at each step, so that no border stays in one place.
    closed: the last frame is followed by the first. weights: "pyramid" 1, 2, ... to the middle and back; "flat";
    "ramps" linear in overlaps only. random: seed of the first frame of a closed loop's windows, drawn for each step;
    with length 16, overlap 4 and flat weights this is MagicPose's published averaging.
    Raises InputError for values that give no windows.
    """

    length: int = 16
    overlap: int = 4
    strides: tuple[int, ...] = (1,)
    shift: bool = True
    closed: bool = False
    weights: WeightKind = "pyramid"
    random: int | None = None

    def __post_init__(self):
        if self.length < 1:
            raise InputError(f"The context length is {self.length}: give at least 1 frame.")
        if not 0 <= self.overlap < self.length:
            raise InputError(
                f"The overlap is {self.overlap} frames and the context length {self.length}: "
                f"give an overlap from 0 to {self.length - 1}."
            )
        if not self.strides or min(self.strides) < 1:
            raise InputError(f"The strides are {list(self.strides)}: give whole numbers of at least 1.")
        if self.weights not in WINDOW_WEIGHTS:
            raise InputError(
                f"The window weights {self.weights!r} are unknown: use one of {', '.join(WINDOW_WEIGHTS)}."
            )
        if self.random is not None and not self.closed:
            raise InputError("Windows that start at random frames need a closed loop: set closed, or no random seed.")

    @property
    def hop(self) -> int:
        """The number of frames from one window to the next."""
        return self.length - self.overlap

    def shift_at(self, step: int) -> int:
        """Return how many frames earlier the windows of a step start than at step 0, in [0, hop).

        Each step moves them by a little more than the overlap, coprime to the hop: borders then visit every frame, and
        the frames that a window of the next step needs are the first that this step finishes.
        """
        if not self.shift:
            return 0
        move = max(1, self.overlap)
        while gcd(move, self.hop) > 1:
            move += 1
        return step * move % self.hop

    def at(self, step: int, frames: int) -> Iterator[Window]:
        """Yield the windows of a step over `frames` frames by their first frame; a short sequence is one window.

        In a closed loop they begin at the step's shift.
        """
        stride = self._stride(step, frames)
        if self.closed:
            yield from self._loop(step, frames, stride)
        else:
            lines = (self._line(range(first, frames, stride), step) for first in range(stride))
            yield from merge(*lines, key=lambda window: window.frames[0])

    def count(self, step: int, frames: int) -> int:
        """Return how many windows `at` yields."""
        stride = self._stride(step, frames)
        if self.closed:
            cycles = gcd(stride, frames)
            return cycles * self._around(frames // cycles)
        sizes = (len(range(first, frames, stride)) for first in range(stride))
        further = (size - self.length + self.shift_at(step) for size in sizes if size > self.length)
        return stride + sum(ceil(frames / self.hop) for frames in further)

    def _stride(self, step: int, frames: int) -> int:
        """Return the stride of a step, small enough for every window to be full."""
        return min(self.strides[step % len(self.strides)], max(1, frames // self.length))

    def _around(self, frames: int) -> int:
        """Return how many windows a loop of `frames` frames has."""
        return 1 if frames <= self.length else ceil(frames / self.hop)

    def _line(self, frames: range, step: int) -> Iterator[Window]:
        """Yield windows over a sequence with two ends, clamped to it."""
        last = max(len(frames) - self.length, 0)
        start, end, number = 0, 0, 0
        while True:
            before, end = end, min(start + self.length, len(frames))
            number += 1
            following = min(number * self.hop - self.shift_at(step), last) if start < last else end
            yield Window(
                tuple(frames[start:end]),
                self._weights(end - start, before - start, end - following),
                tuple(frames[start:following]),
            )
            if start == last:
                return
            start = following

    def _loop(self, step: int, frames: int, stride: int) -> Iterator[Window]:
        """Yield windows around a loop; a stride that does not divide it goes around several times."""
        cycles = gcd(stride, frames)
        around = frames // cycles
        length, number = min(self.length, around), self._around(around)
        offset = -self.shift_at(step)
        if self.random is not None:
            offset = int(np.random.default_rng((self.random, step)).integers(around))
        starts = [(offset + k * self.hop) % around for k in range(number)]
        ends = {(start + k) % around: window for window, start in enumerate(starts) for k in range(length)}
        overlaps = [self._shared(starts, k, around) for k in range(number)]
        for first in range(cycles):
            for window, start in enumerate(starts):
                places = [(start + k) % around for k in range(length)]
                numbers = [(first + place * stride) % frames for place in places]
                yield Window(
                    tuple(numbers),
                    self._weights(length, overlaps[window - 1], overlaps[window]),
                    tuple(frame for frame, place in zip(numbers, places) if ends[place] == window),
                )

    def _shared(self, starts: list[int], window: int, around: int) -> int:
        """Return how many frames a window of a loop shares with the next."""
        if len(starts) == 1:
            return 0
        return self.length - (starts[(window + 1) % len(starts)] - starts[window]) % around

    def _weights(self, length: int, left: int, right: int) -> tuple[float, ...]:
        """Return the weights of a window; left, right: frames shared with the previous and the next window."""
        if self.weights == "flat":
            return (1.0,) * length
        if self.weights == "pyramid":
            return tuple(float(min(k + 1, length - k)) for k in range(length))
        return tuple(min((k + 1) / (left + 1), (length - k) / (right + 1), 1.0) for k in range(length))


@dataclass(frozen=True)
class Batches:
    """Batches of `length` independent frames in place of windows; the last one may be shorter."""

    length: int = 8

    def at(self, step: int, frames: int) -> Iterator[Window]:
        for first in range(0, frames, self.length):
            batch = tuple(range(first, min(first + self.length, frames)))
            yield Window(batch, (1.0,) * len(batch), batch)

    def count(self, step: int, frames: int) -> int:
        return ceil(frames / self.length)
