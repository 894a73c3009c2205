"""The choice of the video, the reference frame and the target frames of each sample."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, islice
from typing import Any

import torch

from ..errors import InputError
from .frame_sets import Video
from .samples import below, generator


@dataclass(frozen=True)
class Pick:
    """One sample: a video, its reference frame and its target frames."""

    video: int
    reference: int
    targets: tuple[int, ...]


class Picker:
    """Picks the frames of the samples of a split, by the samples' numbers.

    Each epoch takes every video once, in a new order, unless `order` says otherwise; no two samples of it share a
    video, so processes that take different numbers see different data.
    videos: all videos of the data set. targets, stride, distance, vary_stride: see `training.config.StageConfig`.
    order: returns the videos of (split, seed, epoch), as many in every epoch: for data sets that are fast to read in
    one order only, and see `epochs.EpochOrder`.
    Raises InputError if a video is too short or the split is empty.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        split: str,
        targets: int,
        stride: int,
        distance: int,
        seed: int,
        vary_stride: bool = False,
        order: Callable[[str, int, int], list[int]] | None = None,
    ):
        self.numbers = [number for number, video in enumerate(videos) if video.split == split]
        self.videos, self.split, self.seed = videos, split, seed
        self.targets, self.stride, self.distance, self.vary_stride = targets, stride, distance, vary_stride
        if not self.numbers:
            raise InputError(f"The data set has no video in its split {split!r}: give more videos or other shares.")
        self.span = (targets - 1) * stride + 1 if stride else 2
        for number in self.numbers:
            longest = max(length for _, length in self._runs(number))
            if longest < self.span:
                raise InputError(
                    f"{videos[number].name} has {longest} consecutive frames, and a sample takes {self.span}: "
                    "leave it out, or lower targets or stride."
                )
        self.order = order
        self._cache_order()
        self.epoch_length = len(self._order(0))

    def _cache_order(self) -> None:
        order = partial(self.order, self.split, self.seed) if self.order else self._shuffled
        self._order = lru_cache(maxsize=2)(order)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._cache_order()

    def _runs(self, number: int) -> tuple[tuple[int, int], ...]:
        video = self.videos[number]
        return (video.runs or ((0, video.frames),)) if self.stride else ((0, video.frames),)

    def _shuffled(self, epoch: int) -> list[int]:
        source = generator(self.seed, "order", self.split, epoch)
        return [self.numbers[k] for k in torch.randperm(len(self.numbers), generator=source).tolist()]

    def __call__(self, index: int, source: torch.Generator) -> Pick:
        """Return the frames of sample `index`, drawn from `source`."""
        epoch, position = divmod(index, self.epoch_length)
        video = self._order(epoch)[position]
        frames = self.videos[video].frames
        if self.stride:
            starts = [(first, length - self.span + 1) for first, length in self._runs(video) if length >= self.span]
            skipped = below(source, sum(count for _, count in starts))
            start = next(islice(chain.from_iterable(range(first, first + n) for first, n in starts), skipped, None))
            stride = 1 + below(source, self.stride) if self.vary_stride else self.stride
            targets = tuple(start + k * stride for k in range(self.targets))
            reference = self._near(below(source, frames), start, frames, source)
            return Pick(video, reference, targets)
        reference = below(source, frames)
        low, high = 0, frames
        if self.distance:
            low, high = max(0, reference - self.distance), min(frames, reference + self.distance + 1)
        others = [frame for frame in range(low, high) if frame != reference]
        if self.targets <= len(others):
            chosen = torch.randperm(len(others), generator=source)[: self.targets].tolist()
        else:  # a short video repeats frames
            chosen = torch.randint(len(others), (self.targets,), generator=source).tolist()
        return Pick(video, reference, tuple(others[k] for k in chosen))

    def _near(self, reference: int, start: int, frames: int, source: torch.Generator) -> int:
        if not self.distance:
            return reference
        low, high = max(0, start - self.distance), min(frames, start + self.distance + 1)
        return low + below(source, high - low)
