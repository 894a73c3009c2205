"""Motion modules (AnimateDiff, Guo et al., arXiv 2307.04725): temporal attention between the frames of a clip.

The layers of a motion module follow the UNet's transformers (or residual blocks, in levels without transformers). They
are applied by forward hooks, so that the UNet is unchanged, bit for bit, without a module and with scale 0.
"""

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import SinusoidalPositionalEmbedding
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..errors import InputError
from .temporal_decoder import TemporalDecoder
from .temporal_hooks import ClipContext, TemporalHooks

MAX_ATTENTIONS = 65_535  # sequences times heads in one call: more exceed a CUDA grid (pytorch#146704)
RESNET_NORMS = re.compile(r".*\.resnets\.\d+\.norm[12]|conv_norm_out")

NoiseKind = Literal["shared", "independent", "mixed", "free"]


class Positions(SinusoidalPositionalEmbedding):
    """Position embedding that works on any device and in any dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pe[:, : x.shape[1]].to(x)


class MotionModule(MotionAdapter):
    """A motion module: diffusers' MotionAdapter with more configuration and optional layers for a VAE's decoder.

    conv_in_channels: used by PIA, always None here.
    norm_over_frames: the UNet's residual blocks normalise over the whole clip, as AnimateDiff v1 was trained.
    noise, beta_schedule: what the module was trained with and works best with; "independent" noise on a "linear"
    schedule for AnimateDiff's modules.
    decoder_block_out_channels, decoder_norm_num_groups: of the VAE whose decoder gets temporal layers
    (`temporal_decoder`); None for none, as in AnimateDiff's modules.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        motion_layers_per_block: int | tuple[int, ...] = 2,
        motion_transformer_layers_per_block: int | tuple[int, ...] = 1,
        motion_mid_block_layers_per_block: int = 1,
        motion_transformer_layers_per_mid_block: int | tuple[int, ...] = 1,
        motion_num_attention_heads: int | tuple[int, ...] = 8,
        motion_norm_num_groups: int = 32,
        motion_max_seq_length: int = 32,
        use_motion_mid_block: bool = True,
        conv_in_channels: None = None,
        norm_over_frames: bool = False,
        noise: NoiseKind = "independent",
        beta_schedule: str = "linear",
        decoder_block_out_channels: tuple[int, ...] | None = None,
        decoder_norm_num_groups: int = 32,
    ):
        super().__init__(
            block_out_channels=block_out_channels,
            motion_layers_per_block=motion_layers_per_block,
            motion_transformer_layers_per_block=motion_transformer_layers_per_block,
            motion_mid_block_layers_per_block=motion_mid_block_layers_per_block,
            motion_transformer_layers_per_mid_block=motion_transformer_layers_per_mid_block,
            motion_num_attention_heads=motion_num_attention_heads,
            motion_norm_num_groups=motion_norm_num_groups,
            motion_max_seq_length=motion_max_seq_length,
            use_motion_mid_block=use_motion_mid_block,
        )
        for module in self.modules():
            if type(module) is SinusoidalPositionalEmbedding:
                module.__class__ = Positions
        self.gradient_checkpointing = False
        self.temporal_decoder = None
        if decoder_block_out_channels:
            self.temporal_decoder = TemporalDecoder(decoder_block_out_channels, decoder_norm_num_groups)

    @classmethod
    def for_unet(cls, unet: UNet2DConditionModel) -> "MotionModule":
        """Return a randomly initialised module for a UNet, built like AnimateDiff v2's for Stable Diffusion 1.5."""
        config = unet.config
        return cls(
            block_out_channels=config.block_out_channels,
            motion_layers_per_block=config.layers_per_block,
            motion_num_attention_heads=config.attention_head_dim,  # which is the number of heads in diffusers
            motion_norm_num_groups=config.norm_num_groups,
        )

    @property
    def max_frames(self) -> int:
        """Return the length of the position embedding, the longest possible clip."""
        return self.config.motion_max_seq_length

    def add_temporal_decoder(self, vae: AutoencoderKL) -> None:
        """Add temporal layers for the decoder of a VAE; they change nothing before training."""
        widths, groups = vae.config.block_out_channels, vae.config.norm_num_groups
        self.register_to_config(decoder_block_out_channels=list(widths), decoder_norm_num_groups=groups)
        self.temporal_decoder = TemporalDecoder(widths, groups)

    def zero_init(self) -> "MotionModule":
        """Zero the output projections, so that the module changes nothing before training. Returns the module."""
        for name, layer in self.named_modules():
            if name.endswith("proj_out"):
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        return self

    def layer(self, block: str, level: int, index: int) -> nn.Module | None:
        """Return the temporal layer behind a UNet layer; block: "down_blocks", "mid_block" (level 0) or "up_blocks"."""
        layers = getattr(self, block)
        if layers is None:
            return None
        return (layers if block == "mid_block" else layers[level]).motion_modules[index]

    def mix(self, layer: Any, hidden: Tensor, frames: int, scale: float = 1.0) -> Tensor:
        """Apply a layer to `[B * frames, C, h, w]`; its change is multiplied by `scale`.

        The group norm uses the statistics of each frame, as published; diffusers uses those of the clip.
        """
        batch, _, height, width = hidden.shape
        tokens = rearrange(layer.norm(hidden), "(b f) c h w -> (b h w) f c", f=frames)
        rows = max(1, MAX_ATTENTIONS // layer.num_attention_heads)
        tokens = torch.cat([self._attend(layer, part) for part in tokens.split(rows)])
        change = rearrange(tokens, "(b h w) f c -> (b f) c h w", b=batch // frames, h=height, w=width)
        return hidden + (change if scale == 1 else scale * change)

    def _attend(self, layer: Any, tokens: Tensor) -> Tensor:
        tokens = layer.proj_in(tokens)
        for block in layer.transformer_blocks:
            if self.gradient_checkpointing and torch.is_grad_enabled():
                tokens = self._gradient_checkpointing_func(block, tokens)
            else:
                tokens = block(tokens)
        return layer.proj_out(tokens)


class UNetTemporalHooks(TemporalHooks):
    """Hooks of a UNet for a `MotionModule`.

    checkpointing: replaces `checkpoint` where nothing is recomputed, such as in an estimate on the meta device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.checkpointing: Callable | None = None

    def join_frames(self, module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor] | None:
        """Pre-hook of a group norm: join the frames of a clip to one tall picture, so that they share statistics."""
        if self.clip is None or not self.clip.norms_over_frames:
            return None
        return (rearrange(args[0], "(b f) c h w -> b c (f h) w", f=self.clip.frames),)

    def split_frames(self, module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor | None:
        """Hook of a group norm: undo `join_frames`."""
        if self.clip is None or not self.clip.norms_over_frames:
            return None
        return rearrange(output, "b c (f h) w -> (b f) c h w", f=self.clip.frames)

    def checkpoint(self, module: nn.Module, *args):
        """Gradient checkpointing that recomputes a block with the same clip."""
        clip = self.clip
        return checkpoint(
            module.__call__, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), self.set(clip))
        )


def add_temporal_hooks(unet: UNet2DConditionModel) -> UNetTemporalHooks:
    """Register hooks for a motion module on a UNet, once; without a clip they do nothing.

    Call it when a UNet is built: torch.compile ignores hooks that are added later.
    """
    if (hooks := getattr(unet, "temporal_hooks", None)) is not None:
        return hooks
    unet.temporal_hooks = hooks = UNetTemporalHooks()
    for block, module in _hooked_modules(unet).items():
        module.register_forward_hook(functools.partial(hooks.mix, block))
    for name, module in unet.named_modules():
        if RESNET_NORMS.fullmatch(name):
            module.register_forward_pre_hook(hooks.join_frames)
            module.register_forward_hook(hooks.split_frames)
    return hooks


def _hooked_modules(unet: UNet2DConditionModel) -> dict[tuple[str, int, int], nn.Module]:
    """Return what temporal layers follow: (block, level, index) -> transformer, or residual block in levels without."""
    blocks = [("down_blocks", level, block) for level, block in enumerate(unet.down_blocks)]
    blocks += [("mid_block", 0, unet.mid_block)] if unet.mid_block is not None else []
    blocks += [("up_blocks", level, block) for level, block in enumerate(unet.up_blocks)]
    return {
        (name, level, index): module
        for name, level, block in blocks
        for index, module in enumerate(getattr(block, "attentions", None) or block.resnets)
    }


def check_motion_fits(unet: UNet2DConditionModel, vae: AutoencoderKL, motion: MotionModule) -> None:
    """Raise InputError if a motion module was made for a UNet of other widths or depths, or for another VAE."""
    widths, wanted = list(motion.config.block_out_channels), list(unet.config.block_out_channels)
    if widths != wanted:
        raise InputError(
            f"The motion module has the widths {widths} and the UNet {wanted}: give one made for this model."
        )
    layers = {
        (block, level): len(getattr(getattr(unet, block)[level], "resnets", ()))
        for block in ("down_blocks", "up_blocks")
        for level in range(len(wanted))
    }
    for (block, level), count in layers.items():
        if (found := len(getattr(motion, block)[level].motion_modules)) != count:
            raise InputError(
                f"The motion module has {found} layers in {block}.{level} and the UNet {count}: "
                "give one made for this model."
            )
    decoder = motion.config.decoder_block_out_channels
    if decoder and list(decoder) != list(vae.config.block_out_channels):
        raise InputError(
            f"The motion module has layers for a VAE of the widths {list(decoder)} and the VAE has "
            f"{list(vae.config.block_out_channels)}: give one made for this model."
        )


@contextmanager
def apply_motion(
    unet: UNet2DConditionModel, motion: MotionModule | None, frames: int, scale: float = 1.0
) -> Iterator[None]:
    """Within the block, the UNet treats each `frames` consecutive rows of its batch as a clip.

    motion: None, like scale 0, leaves the UNet exactly unchanged.
    Raises InputError for more frames than the module's position embedding has.
    """
    if motion is None or scale == 0:
        yield
        return
    if frames > motion.max_frames:
        raise InputError(
            f"The clip has {frames} frames and the motion module takes at most {motion.max_frames}: "
            f"use a context length of at most {motion.max_frames}."
        )
    hooks = add_temporal_hooks(unet)
    if torch.is_grad_enabled() and unet.is_gradient_checkpointing:
        unet.enable_gradient_checkpointing(hooks.checkpointing or hooks.checkpoint)
    with hooks.set(ClipContext(motion, frames, scale, motion.config.norm_over_frames)):
        yield
