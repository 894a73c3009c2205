"""What a reference shows at every step, kept for the other frames of the same person."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..models import Bank
from .memory import room_for_banks


class Banks:
    """Banks of one reference by text and timestep, as long as there is room; those beyond it are read again.

    Good for one Appearance Control Model. Other texts empty it. most: bytes, by default what the device can spare: the
    banks of 50 steps take 1.16 GB in float16 at 512 x 512.
    """

    def __init__(self, most: int | None = None):
        self._most, self._size = most, 0
        self._texts: list[Tensor] = []
        self._kept: dict[tuple[int, float], Bank] = {}

    def begin(self, *texts: Tensor) -> None:
        """A run with these texts, which `get` calls by their places, begins."""
        alike = [_kind(a) == _kind(b) and torch.equal(a, b) for a, b in zip(texts, self._texts)]
        if len(texts) != len(self._texts) or not all(alike):
            self._texts, self._kept, self._size = list(texts), {}, 0
        if self._most is None:
            self._most = room_for_banks(texts[0].device)

    def get(self, text: int, timestep: float, read: Callable[[], Bank]) -> Bank:
        """The bank, read if it is not there."""
        if (text, timestep) in self._kept:
            return self._kept[text, timestep]
        bank = read()
        size = sum(tokens.nbytes for tokens in bank.values())
        if self._size + size <= self._most:
            self._kept[text, timestep], self._size = bank, self._size + size
        return bank


def _kind(text: Tensor) -> tuple:
    return text.shape, text.device, text.dtype


@dataclass(frozen=True)
class Person:
    """A reference that several runs of one model share: encoded, and read once at each step of all of them.

    latents: clean and scaled, `[R, 4, h, w]`.
    """

    latents: Tensor
    banks: Banks = field(default_factory=Banks)
