"""Multi-source self-attention (paper section 4.1): frames attend to themselves and to the reference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

EXTRA_CHANNELS = 8  # added to each head to weight keys; attention kernels need a multiple of 8
LOG_ZERO = -60.0  # logarithm that stands for a weight of 0: softmax makes 0 of it in every dtype
Bank = dict[str, Tensor]
"""Records of the Appearance Control Model: block name -> normalised tokens `[R, T, C]`, in forward order."""


@dataclass(frozen=True)
class ReferenceSource:
    """Keys and values of a bank, projected by the denoising UNet: an additional source for its self-attention.

    keys, values: block name -> `[B, T, C]`; B divides the number of frames, consecutive frames share a row.
    strength: weight of a reference token relative to a token of the frame; 1 as published.
    rows: only the first `rows` frames of the batch attend to the source; None: all.
    counts: block name -> how many of the T tokens each of P references has, one after the other.
    weights: block name -> factors of `strength` by query and reference, `[1 or frames, queries, P]`; None: 1.
    token_weights: block name -> further factors by token, `[T]`; only with `weights`. None: 1.
    """

    keys: dict[str, Tensor]
    values: dict[str, Tensor]
    strength: float = 1.0
    rows: int | None = None
    counts: dict[str, tuple[int, ...]] | None = None
    weights: dict[str, Tensor] | None = None
    token_weights: dict[str, Tensor] | None = None

    @classmethod
    def join(cls, sources: Sequence["ReferenceSource"]) -> "ReferenceSource":
        """Return one source with the tokens of several that have the same batch and strength."""
        if len(sources) == 1:
            return sources[0]
        keys, values = (
            {name: torch.cat([part[name] for part in parts], dim=1) for name in parts[0]}
            for parts in ([source.keys for source in sources], [source.values for source in sources])
        )
        counts = {name: tuple(source.keys[name].shape[1] for source in sources) for name in keys}
        return cls(keys, values, sources[0].strength, counts=counts)

    def weighted(self, weights: Tensor, downscaling: Mapping[str, int]) -> "ReferenceSource":
        """Return the source with weights of P references at each pixel of the latents, `[1 or frames, P, h, w]`.

        downscaling: block name -> side of the latents divided by that of the block's feature map, rounded up.
        """
        by_factor = {
            factor: F.interpolate(weights, [-(-side // factor) for side in weights.shape[-2:]], mode="area")
            .flatten(2)
            .transpose(1, 2)
            for factor in set(downscaling.values())
        }
        return replace(self, weights={name: by_factor[downscaling[name]] for name in self.keys})

    def select(self, block: str, name: str) -> "ReferenceSource":
        """Return the part for one block, under another name."""
        parts: dict[str, Any] = {
            part.name: {name: value[block]}
            for part in fields(self)
            if isinstance(value := getattr(self, part.name), dict)
        }
        return replace(self, **parts)


class SourceAttention:
    """Attention processor of every attention layer of the UNet, the appearance network and the ControlNet.

    Self-attention concatenates the reference's keys and values to those of the frame if a `source` is passed in
    `cross_attention_kwargs`. Cross-attention accepts a context of batch 1, so that a prompt shared by all frames is
    projected once.
    """

    def __init__(self, block: str):
        self.block = block

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        source: ReferenceSource | None = None,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
        if encoder_hidden_states is not None:
            key, value = repeat_rows(key, len(query)), repeat_rows(value, len(query))
            out = attend(query, key, value, attn.heads)
        elif source is None:
            out = attend(query, key, value, attn.heads)
        else:
            rows = len(query) if source.rows is None else source.rows
            block = self.block
            out = attend(
                query[:rows], key[:rows], value[:rows], attn.heads,
                source.keys[block], source.values[block], source.strength,
                None if source.weights is None else source.weights[block],
                () if source.counts is None else source.counts[block],
                None if source.token_weights is None else source.token_weights[block],
            )  # fmt: skip
            if rows < len(query):
                out = torch.cat([out, attend(query[rows:], key[rows:], value[rows:], attn.heads)])
        return attn.to_out[1](attn.to_out[0](out))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    heads: int,
    more_keys: Tensor | None = None,
    more_values: Tensor | None = None,
    strength: float = 1.0,
    weights: Tensor | None = None,
    counts: tuple[int, ...] = (),
    token_weights: Tensor | None = None,
) -> Tensor:
    """Return attention of `[B, T, C]` to keys and values `[B, S, C]` and to `more_keys`, `more_values`.

    Each of the latter has the weight `strength` relative to the former; if they are of P references with `counts`
    tokens each, times `weights` `[1 or B, T, P]` and `token_weights` `[sum(counts)]`. The weight is not a mask, which
    fused kernels do not support, but an additional channel of each head: 1 in every query, log(strength) in the
    weighted keys, or a channel for each reference. It is free where kernels round heads up to 64, 96 or 192 channels.
    """
    count, scale = key.shape[1], (query.shape[-1] // heads) ** -0.5
    if more_keys is not None and more_values is not None:
        key = torch.cat([key, repeat_rows(more_keys, len(key))], dim=1)
        value = torch.cat([value, repeat_rows(more_values, len(value))], dim=1)
    query, key, value = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value))
    if strength == 1.0 and weights is None:
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    width = value.shape[-1]
    extra = EXTRA_CHANNELS * -(-(len(counts) + 1) // EXTRA_CHANNELS)
    query, key, value = (F.pad(x, (0, extra)) for x in (query, key, value))
    if weights is None:
        query[..., width] = 1.0
        key[:, :, count:, width] = math.log(strength) / scale
    else:
        if token_weights is not None:
            query[..., width + len(counts)] = 1.0
            key[:, :, count:, width + len(counts)] = token_weights.log().clamp_min(LOG_ZERO).to(key) / scale
        logarithms = (weights * strength).log().clamp_min(LOG_ZERO).to(query)
        query[..., width : width + len(counts)] = repeat_rows(logarithms, len(query))[:, None]
        for number, tokens in enumerate(counts):
            key[:, :, count : count + tokens, width + number] = 1 / scale
            count += tokens
    return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :width].transpose(1, 2).flatten(2)


def repeat_rows(x: Tensor, batch: int) -> Tensor:
    """Repeat each row of `[B, ...]` to `[batch, ...]`, consecutively; without a copy for B = 1."""
    if len(x) == batch:
        return x
    if len(x) == 1:
        return x.expand(batch, *x.shape[1:])
    return x.repeat_interleave(batch // len(x), dim=0)


def self_attention_blocks(network: nn.Module) -> dict[str, BasicTransformerBlock]:
    """Return the transformer blocks of a diffusers UNet or ControlNet by name, without those of motion modules."""
    return {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "attn1") and "motion_modules" not in name
    }


def downscaling(unet: UNet2DConditionModel) -> dict[str, int]:
    """Return, for each transformer block of a UNet, the side of the latents divided by that of its feature map."""
    deepest = len(unet.config.block_out_channels) - 1
    factors = {}
    for name in self_attention_blocks(unet):
        part, number, *_ = name.split(".")
        level = deepest if part == "mid_block" else int(number)
        factors[name] = 2 ** (deepest - level if part == "up_blocks" else level)
    return factors


def use_source_attention(network: nn.Module) -> None:
    """Install `SourceAttention` in all transformer blocks of a diffusers UNet or ControlNet, except motion modules."""
    for name, block in self_attention_blocks(network).items():
        for attention in (block.attn1, block.attn2):
            if isinstance(attention, Attention):
                attention.set_processor(SourceAttention(name))


def project_bank(unet: UNet2DConditionModel, bank: Bank, strength: float = 1.0) -> ReferenceSource:
    """Project a bank to keys and values with the weights of the denoising UNet.

    bank: tensors `[B, T, C]`; B is the batch of the source.
    Raises KeyError if the UNet lacks a recorded block.
    """
    blocks = self_attention_blocks(unet)
    keys, values = {}, {}
    for name, tokens in bank.items():
        keys[name], values[name] = blocks[name].attn1.to_k(tokens), blocks[name].attn1.to_v(tokens)
    return ReferenceSource(keys, values, strength)
