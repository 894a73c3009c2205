"""What a reference shows, inside ComfyUI's UNet: tokens that self-attention looks at besides its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = "magicdance_tokens"  # where transformer_options have the `ReferenceTokens` of a call
NEVER = -1e4  # added to a logit, leaves exactly nothing of a token; infinity would spoil attention in chunks

Block = tuple[str, int, int]
"""ComfyUI's name of a transformer block: "input", "middle" or "output", number, and index within."""


@dataclass(eq=False)
class ReferenceTokens:
    """The tokens of all sources that a call of the UNet sees.

    blocks: block -> `[B, n, C]`; B divides the batch, consecutive rows of the batch share a row. counts: block ->
    how many of the n tokens each source has. weights: of each source, against an own token: its strength, and where
    in the frame (`[B, 1, h, w]` in [0, 1]; None for everywhere).
    """

    blocks: dict[Block, Tensor]
    counts: dict[Block, tuple[int, ...]]
    weights: tuple[tuple[float, Tensor | None], ...]

    @property
    def weighed(self) -> bool:
        return any(strength != 1.0 or place is not None for strength, place in self.weights)

    def append(self, block: Block, context: Tensor) -> Tensor:
        """The tokens behind all that self-attention looks at already, `[batch, n, C]`."""
        import torch

        from ...magicdance_core.models.attention import repeat_rows

        return torch.cat([context, repeat_rows(self.blocks[block].to(context), len(context))], dim=1)

    def bias(self, block: Block, q: Tensor, keys: int, size: tuple[int, int]) -> Tensor:
        """What the weights add to the logits of queries q `[batch, T, C]`: `[1 or batch, 1, 1 or T, keys]`.

        size: height and width of the picture that the T queries are.
        """
        import torch

        columns = [weight_at(strength, place, q, size) for strength, place in self.weights]
        rows, queries = (max(column.shape[axis] for column in columns) for axis in (0, 2))
        bias, start = q.new_zeros(rows, 1, queries, keys), keys - sum(self.counts[block])
        for column, count in zip(columns, self.counts[block]):
            bias[..., start : start + count] = torch.log(column).clamp(min=NEVER)
            start += count
        return bias


def weight_at(strength: float, place: Tensor | None, q: Tensor, size: tuple[int, int]) -> Tensor:
    """The weight of a source for each query of `[batch, T, C]`: `[1 or batch, 1, 1 or T, 1]`."""
    import torch.nn.functional as F

    from ...magicdance_core.errors import InputError
    from ...magicdance_core.models.attention import repeat_rows

    if place is None:
        return q.new_full((1, 1, 1, 1), strength)
    if q.shape[1] != math.prod(size):
        raise InputError("A mask needs every token in its place: remove the node that merges tokens, or the mask.")
    small = F.interpolate(place, size, mode="area").flatten(2)[..., None] * strength
    return (small if len(small) == 1 else repeat_rows(small, len(q))).to(q)


def append_tokens(n: Tensor, context: Tensor, value: Tensor, extra_options: dict) -> tuple[Tensor, Tensor, Tensor]:
    """An attn1 patch, the last one: what other patches do to the frame's own tokens is done already."""
    tokens, block = _at(extra_options)
    if block not in tokens.blocks:
        return n, context, value
    longer = tokens.append(block, context)
    return n, longer, longer if value is context else tokens.append(block, value)


def weigh_tokens(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Replaces self-attention in the blocks where tokens have weights."""
    from comfy.ldm.modules.attention import optimized_attention

    tokens, block = _at(extra_options)
    bias = tokens.bias(block, q, k.shape[1], tuple(extra_options["activations_shape"][-2:]))
    return optimized_attention(
        q, k, v, extra_options["n_heads"], mask=bias,
        attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
    )  # fmt: skip


def _at(extra_options: dict) -> tuple[ReferenceTokens, Block]:
    return extra_options[TOKENS], (*extra_options["block"][:2], extra_options["block_index"])
