"""The order in which the samples of an epoch take the videos of several data sets, or of several shapes."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import torch

from .samples import generator


@dataclass(frozen=True)
class EpochOrder:
    """An order for `picking.Picker`; all epochs are of one length.

    sets: for each data set, the numbers of its videos in the split. weights: how many samples each gives, relative to
    the others. shapes: of every video; the `group` samples of a step have one shape, and the last group of a shape is
    filled up with videos that the epoch has already.
    """

    sets: Sequence[Sequence[int]]
    weights: Sequence[float]
    shapes: Sequence[Hashable]
    group: int

    def __call__(self, split: str, seed: int, epoch: int) -> list[int]:
        """Return the videos of an epoch in order."""
        groups = []
        for shape in sorted({self.shapes[n] for own in self.sets for n in own}, key=str):
            numbers = self._of_shape(shape, split, seed, epoch)
            count = -(-len(numbers) // self.group)
            filled = islice(cycle(_shuffled(numbers, seed, "order", split, epoch, str(shape))), count * self.group)
            groups += list(zip(*[filled] * self.group))
        return [n for group in _shuffled(groups, seed, "groups", split, epoch) for n in group]

    def _of_shape(self, shape: Hashable, split: str, seed: int, epoch: int) -> list[int]:
        """Return the videos of a shape in an epoch: of each set as many as its weight says, from an endless series."""
        total, chosen = sum(map(len, self.sets)), []
        for number, (every, weight) in enumerate(zip(self.sets, self.weights)):
            if not (own := [n for n in every if self.shapes[n] == shape]):
                continue
            share = weight / sum(self.weights) * len(own) / len(every)
            count = max(1, round(total * share))
            first, last = epoch * count, (epoch + 1) * count
            rounds = range(first // len(own), -(-last // len(own)))
            series = [n for k in rounds for n in _shuffled(own, seed, "set", number, split, str(shape), k)]
            start = first - rounds.start * len(own)
            chosen += series[start : start + count]
        return chosen


def _shuffled(values: Sequence, seed: int, *key: str | int) -> list:
    return [values[k] for k in torch.randperm(len(values), generator=generator(seed, *key)).tolist()]
