"""Hints of the frames under way: pose maps are read and encoded when their frame begins, and forgotten when it ends."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

BLOCK = 8  # maps encoded at once; always the same ones together, so that a resumed run computes the same


class Hints:
    """Hints `[1, C, h, w]` of frames by number, of pose maps that come one after the other.

    poses: maps `[1, 3, H, W]` of frame 0, 1, 2, ... encode: maps `[n, 3, H, W]` -> hints `[n, C, h, w]`.
    """

    def __init__(self, poses: Iterable[Tensor], encode: Callable[[Tensor], Tensor]):
        self._poses: Iterator[Tensor] = iter(poses)
        self._encode = encode
        self._read = 0
        self._kept: dict[int, Tensor] = {}

    def skip(self, first: int) -> None:
        """Pass over the frames before one, which will not be asked for: a resumed run starts so."""
        self._read = first // BLOCK * BLOCK
        for _ in islice(self._poses, self._read):
            pass

    def take(self, frames: tuple[int, ...]) -> Tensor:
        """Hints `[n, C, h, w]` of n frames, none of them dropped before."""
        while self._read <= max(frames):
            self._read_block()
        return torch.cat([self._kept[frame] for frame in frames])

    def drop(self, frames: Iterable[int]) -> None:
        """Forget the hints of frames that are done."""
        for frame in frames:
            self._kept.pop(frame, None)

    def _read_block(self) -> None:
        maps = list(islice(self._poses, BLOCK))
        if not maps:
            raise IndexError(f"there are only {self._read} poses")
        for hint in self._encode(torch.cat(maps)).split(1):
            self._kept[self._read] = hint
            self._read += 1
