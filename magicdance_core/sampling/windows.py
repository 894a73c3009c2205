"""Windows over long sequences: which frames a motion module sees together at a step, and how much each view counts.

All follows from a window's number and the step, so a video of any length needs no list of them. Nothing wraps around
the ends but in a closed loop; no frame is missed, none stands twice in a window.
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
    """Frames seen together, in their order; `weights`: how much this view of each counts among all of the step.

    done: frames that no later window of the step holds.
    """

    frames: tuple[int, ...]
    weights: tuple[float, ...]
    done: tuple[int, ...]


@dataclass(frozen=True)
class Windows:
    """The windows of a run.

    length, overlap: of windows, in frames. strides: step s takes every `strides[s % n]`-th frame, so that far frames
    see each other. shift: windows start elsewhere at each step, so that no border stays at one frame. closed: the last
    frame leads to the first. weights: "pyramid" 1, 2, ... to the middle and back; "flat"; "ramps" linear in overlaps
    only. random: of a closed loop, a starting point drawn anew for each step from this seed; with length 16,
    overlap 4 and flat weights this is MagicPose's published averaging.
    Raises InputError for what makes no windows.
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
            raise InputError("Windows that start at random frames need a closed loop: close it or leave them.")

    @property
    def hop(self) -> int:
        """Frames from one window to the next."""
        return self.length - self.overlap

    def shift_at(self, step: int) -> int:
        """How far the windows of a step lie before their place at step 0, in [0, hop).

        Each step moves them by a little more than the overlap, coprime to the hop: borders then visit every frame, and
        the frames that a window of the next step needs are the first that this step has ready.
        """
        if not self.shift:
            return 0
        move = max(1, self.overlap)
        while gcd(move, self.hop) > 1:
            move += 1
        return step * move % self.hop

    def at(self, step: int, frames: int) -> Iterator[Window]:
        """The windows of a step over `frames` frames, by their first frame; a short sequence is one window.

        Around a closed loop they begin where the step's shift puts them.
        """
        stride = self._stride(step, frames)
        if self.closed:
            yield from self._loop(step, frames, stride)
        else:
            lines = (self._line(range(first, frames, stride), step) for first in range(stride))
            yield from merge(*lines, key=lambda window: window.frames[0])

    def count(self, step: int, frames: int) -> int:
        """How many windows `at` has."""
        stride = self._stride(step, frames)
        if self.closed:
            cycles = gcd(stride, frames)
            return cycles * self._around(frames // cycles)
        sizes = (len(range(first, frames, stride)) for first in range(stride))
        further = (size - self.length + self.shift_at(step) for size in sizes if size > self.length)
        return stride + sum(ceil(frames / self.hop) for frames in further)

    def _stride(self, step: int, frames: int) -> int:
        """Of a step; no larger than lets every window be full."""
        return min(self.strides[step % len(self.strides)], max(1, frames // self.length))

    def _around(self, frames: int) -> int:
        """How many windows a loop of so many frames has."""
        return 1 if frames <= self.length else ceil(frames / self.hop)

    def _line(self, frames: range, step: int) -> Iterator[Window]:
        """Windows over a sequence with two ends, clamped to it."""
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
        """Windows around a loop; a stride that does not divide it goes around several times until it is back."""
        cycles = gcd(stride, frames)
        around = frames // cycles
        length, number = min(self.length, around), self._around(around)
        offset = -self.shift_at(step)
        if self.random is not None:
            offset = int(np.random.default_rng((self.random, step)).integers(around))
        starts = [(offset + k * self.hop) % around for k in range(number)]
        ends = {(start + k) % around: window for window, start in enumerate(starts) for k in range(length)}
        overlaps = [self._gap(starts, k, around) for k in range(number)]
        for first in range(cycles):
            for window, start in enumerate(starts):
                places = [(start + k) % around for k in range(length)]
                numbers = [(first + place * stride) % frames for place in places]
                yield Window(
                    tuple(numbers),
                    self._weights(length, overlaps[window - 1], overlaps[window]),
                    tuple(frame for frame, place in zip(numbers, places) if ends[place] == window),
                )

    def _gap(self, starts: list[int], window: int, around: int) -> int:
        """Frames that a window of a loop shares with the next."""
        if len(starts) == 1:
            return 0
        return self.length - (starts[(window + 1) % len(starts)] - starts[window]) % around

    def _weights(self, length: int, left: int, right: int) -> tuple[float, ...]:
        """left, right: frames shared with the window before and the one after."""
        if self.weights == "flat":
            return (1.0,) * length
        if self.weights == "pyramid":
            return tuple(float(min(k + 1, length - k)) for k in range(length))
        return tuple(min((k + 1) / (left + 1), (length - k) / (right + 1), 1.0) for k in range(length))


@dataclass(frozen=True)
class Batches:
    """What stands for windows where frames do not see each other: `length` of them at a time, the rest last."""

    length: int = 8

    def at(self, step: int, frames: int) -> Iterator[Window]:
        for first in range(0, frames, self.length):
            batch = tuple(range(first, min(first + self.length, frames)))
            yield Window(batch, (1.0,) * len(batch), batch)

    def count(self, step: int, frames: int) -> int:
        return ceil(frames / self.length)
