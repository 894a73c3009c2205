"""Where temporal layers act in a network: forward hooks, silent unless they are told of a clip."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class TemporalLayers(Protocol):
    """Layers for the places of a network, and how one of them acts."""

    def layer(self, *place) -> nn.Module | None:
        """The one at a place; None for a place without."""
        ...

    def mix(self, layer: nn.Module, hidden: Tensor, frames: int, scale: float = 1.0) -> Tensor:
        """`[B * frames, C, h, w]` to the same shape, the layer's share times `scale`."""
        ...


@dataclass(frozen=True)
class ClipContext:
    """What the hooks of a network are told for one call: each `frames` consecutive rows of its batch are one clip.

    norms_over_frames: the network's own group norms take their statistics of a whole clip.
    """

    layers: TemporalLayers
    frames: int
    scale: float
    norms_over_frames: bool = False


class TemporalHooks:
    """The places in a network where temporal layers act. Nothing acts unless a clip is set, for a call.

    Like all that hooks hold, it knows nothing of the network: that would keep it in memory.
    """

    def __init__(self):
        self.clip: ClipContext | None = None

    @contextmanager
    def set(self, clip: ClipContext | None) -> Iterator[None]:
        before, self.clip = self.clip, clip
        try:
            yield
        finally:
            self.clip = before

    def mix(self, place: tuple, module: nn.Module, args: tuple, output: Tensor | tuple):
        """Forward hook behind a block of the network."""
        clip = self.clip
        if clip is None or (layer := clip.layers.layer(*place)) is None:
            return None
        if isinstance(output, tuple):
            return (clip.layers.mix(layer, output[0], clip.frames, clip.scale), *output[1:])
        return clip.layers.mix(layer, output, clip.frames, clip.scale)
