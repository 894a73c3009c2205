"""Temporal layers of a VAE's decoder: frames of a clip look at their neighbours while they are decoded.

Such layers finish the decoders of latent video models (Blattmann et al., arXiv 2304.08818, section 3.1). Like a motion
module's they are put there by hooks, so the VAE stays what it is.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from einops import rearrange
from torch import Tensor, nn

from .temporal_hooks import ClipContext, TemporalHooks


class TemporalLayer(nn.Module):
    """What is added to features `[B * frames, C, h, w]`: convolutions over each frame and both of its neighbours.

    At the ends of a clip the frame stands for the neighbour that it lacks. Changes nothing before it is trained.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(groups, channels) for _ in range(2))
        self.conv1 = nn.Conv2d(3 * channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, hidden: Tensor, frames: int) -> Tensor:
        if torch.is_grad_enabled():
            # Channels last, on a CPU, backward crashes in a group norm whose input needs no gradient (torch 2.11).
            hidden = hidden.contiguous()
        own = rearrange(F.silu(self.norm1(hidden)), "(b f) c h w -> b f c h w", f=frames)
        before, after = torch.cat([own[:, :1], own[:, :-1]], 1), torch.cat([own[:, 1:], own[:, -1:]], 1)
        # Neighbours as channels: the same sum as a convolution over time, which not every device has in half precision.
        seen = rearrange([before, own, after], "side b f c h w -> (b f) (side c) h w")
        return self.conv2(F.silu(self.norm2(self.conv1(seen))))


class TemporalDecoder(nn.Module):
    """A layer behind the middle and each up block of a VAE's decoder.

    block_out_channels, groups: of the VAE. `reach`: a frame depends on so many others on either side.
    """

    def __init__(self, block_out_channels: Sequence[int], groups: int):
        super().__init__()
        widths = list(reversed(block_out_channels))
        self.layers = nn.ModuleList(TemporalLayer(width, groups) for width in (widths[0], *widths))

    @property
    def reach(self) -> int:
        return len(self.layers)

    def layer(self, index: int) -> TemporalLayer:
        """Behind the middle (0) or an up block (from 1 on)."""
        return self.layers[index]

    def mix(self, layer: TemporalLayer, hidden: Tensor, frames: int, scale: float = 1.0) -> Tensor:
        change = layer(hidden, frames)
        return hidden + (change if scale == 1 else scale * change)


def _add_slots(vae: AutoencoderKL) -> TemporalHooks:
    """Make the places where a temporal decoder can act, once; the VAE computes what it did before."""
    if (hooks := getattr(vae, "temporal_hooks", None)) is not None:
        return hooks
    vae.temporal_hooks = hooks = TemporalHooks()
    for index, block in enumerate((vae.decoder.mid_block, *vae.decoder.up_blocks)):
        block.register_forward_hook(functools.partial(hooks.mix, (index,)))
    return hooks


@contextmanager
def apply_temporal_decoder(
    vae: AutoencoderKL, decoder: TemporalDecoder | None, frames: int, scale: float = 1.0
) -> Iterator[None]:
    """Within this the VAE decodes each `frames` consecutive latents as a clip. None, like scale 0, changes nothing."""
    if decoder is None or scale == 0:
        yield
        return
    with _add_slots(vae).set(ClipContext(decoder, frames, scale)):
        yield
