"""Temporal layers for a VAE's decoder: frames of a clip are decoded with their neighbours.

Decoders of latent video models have such layers (Blattmann et al., arXiv 2304.08818, section 3.1). Like those of a
motion module they are applied by hooks, so that the VAE itself is unchanged. The paper does not have them.
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
    """Residual for features `[B * frames, C, h, w]`: convolutions over each frame and both neighbours.

    The first and the last frame of a clip stand for their missing neighbours. The residual is zero before training.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm1, self.norm2 = (nn.GroupNorm(groups, channels) for _ in range(2))
        self.conv1 = nn.Conv2d(3 * channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        assert self.conv2.bias is not None
        nn.init.zeros_(self.conv2.bias)

    def forward(self, hidden: Tensor, frames: int) -> Tensor:
        if torch.is_grad_enabled():
            # Channels last, on a CPU, backward crashes in a group norm whose input needs no gradient (torch 2.11).
            hidden = hidden.contiguous()
        current = rearrange(F.silu(self.norm1(hidden)), "(b f) c h w -> b f c h w", f=frames)
        before, after = torch.cat([current[:, :1], current[:, :-1]], 1), torch.cat([current[:, 1:], current[:, -1:]], 1)
        # Neighbours as channels equal a convolution over time, which not every device supports in half precision.
        stacked = rearrange([before, current, after], "side b f c h w -> (b f) (side c) h w")
        return self.conv2(F.silu(self.norm2(self.conv1(stacked))))


class TemporalDecoder(nn.Module):
    """Temporal layers behind the middle block and each up block of a VAE's decoder.

    block_out_channels, groups: of the VAE.
    """

    def __init__(self, block_out_channels: Sequence[int], groups: int):
        super().__init__()
        widths = list(reversed(block_out_channels))
        self.layers = nn.ModuleList(TemporalLayer(width, groups) for width in (widths[0], *widths))

    @property
    def reach(self) -> int:
        """Return on how many frames on either side a decoded frame depends."""
        return len(self.layers)

    def layer(self, index: int) -> nn.Module:
        """Return the layer behind the middle block (0) or an up block (from 1)."""
        return self.layers[index]

    def mix(self, layer: nn.Module, hidden: Tensor, frames: int, scale: float = 1.0) -> Tensor:
        """Apply a layer to `[B * frames, C, h, w]`; its change is multiplied by `scale`."""
        change = layer(hidden, frames)
        return hidden + (change if scale == 1 else scale * change)


def _add_slots(vae: AutoencoderKL) -> TemporalHooks:
    """Register hooks for temporal layers on a VAE's decoder, once; without a clip they do nothing."""
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
    """Within the block, decode each `frames` consecutive latents as a clip, unless decoder is None or scale 0."""
    if decoder is None or scale == 0:
        yield
        return
    with _add_slots(vae).set(ClipContext(decoder, frames, scale)):
        yield
