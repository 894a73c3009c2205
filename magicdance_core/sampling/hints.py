"""Hints of the frames under way: pose maps are read and encoded when their frame begins, and forgotten when it ends."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

BLOCK = 8  # maps encoded at once; always the same ones together, so that a resumed run computes the same
RESIDENT = 2**28
"""Bytes of hints that stay on the device: those of 100 frames of 512 x 512 in float16."""


class Hints:
    """Hints `[1, C, h, w]` of frames by number, of pose maps that come one after the other.

    They stay where they are encoded; what outgrows RESIDENT waits on the CPU, for a GPU in page-locked memory, from
    which it comes without anybody waiting for it.

    poses: maps `[1, 3, H, W]` of frame 0, 1, 2, ... encode: maps `[n, 3, H, W]` -> hints `[n, C, h, w]` on the device
    where they are needed. block: n.
    """

    def __init__(self, poses: Iterable[Tensor], encode: Callable[[Tensor], Tensor], block: int = BLOCK):
        self._poses: Iterator[Tensor] = iter(poses)
        self._encode, self._block = encode, block
        self._read, self._resident = 0, 0
        self._kept: dict[int, Tensor] = {}

    def skip(self, first: int) -> None:
        """Pass over the frames before one, which will not be asked for: a resumed run starts so."""
        self._read = first // self._block * self._block
        for _ in islice(self._poses, self._read):
            pass

    def take(self, frames: tuple[int, ...]) -> Tensor:
        """Hints `[n, C, h, w]` of n frames, none of them dropped before, on their device."""
        while self._read <= max(frames):
            self._read_block()
        return torch.cat([self._kept[frame].to(self._device, non_blocking=True) for frame in frames])

    def drop(self, frames: Iterable[int]) -> None:
        """Forget the hints of frames that are done."""
        for frame in frames:
            hint = self._kept.pop(frame, None)
            if hint is not None and hint.device == self._device:
                self._resident -= hint.nbytes

    def _read_block(self) -> None:
        maps = list(islice(self._poses, self._block))
        if not maps:
            raise IndexError(f"there are only {self._read} poses")
        hints = self._encode(torch.cat(maps))
        self._device = hints.device
        for hint in hints.split(1):
            self._kept[self._read] = self._put(hint)
            self._read += 1

    def _put(self, hint: Tensor) -> Tensor:
        if self._resident + hint.nbytes <= RESIDENT:
            self._resident += hint.nbytes
            return hint
        hint = hint.cpu()
        return hint.pin_memory() if self._device.type == "cuda" else hint
