"""Forward hooks that apply temporal layers to a network; they do nothing unless a clip is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


class TemporalLayers(Protocol):
    """Temporal layers for the blocks of a network."""

    def layer(self, *block) -> nn.Module | None:
        """Return the layer behind a block, None if there is none."""
        ...

    def mix(self, layer: nn.Module, hidden: Tensor, frames: int, scale: float = 1.0) -> Tensor:
        """Apply a layer to `[B * frames, C, h, w]`; its change is multiplied by `scale`."""
        ...


@dataclass(frozen=True)
class ClipContext:
    """What the hooks of a network need for one call: each `frames` consecutive rows of its batch are one clip.

    scale: multiplies the changes of the layers. norms_over_frames: the network's group norms use the statistics of the
    whole clip.
    """

    layers: TemporalLayers
    frames: int
    scale: float
    norms_over_frames: bool = False


class TemporalHooks:
    """Holds the clip of the current call for the hooks of one network.

    It has no reference to the network: hooks that refer to their network keep it in memory until garbage collection.
    """

    def __init__(self):
        self.clip: ClipContext | None = None

    @contextmanager
    def set(self, clip: ClipContext | None) -> Iterator[None]:
        """Set the clip within the block."""
        before, self.clip = self.clip, clip
        try:
            yield
        finally:
            self.clip = before

    def mix(self, block: tuple, module: nn.Module, args: tuple, output: Tensor | tuple):
        """Forward hook of a block: apply its temporal layer to the output."""
        clip = self.clip
        if clip is None or (layer := clip.layers.layer(*block)) is None:
            return None
        if isinstance(output, tuple):
            return (clip.layers.mix(layer, output[0], clip.frames, clip.scale), *output[1:])
        return clip.layers.mix(layer, output, clip.frames, clip.scale)
