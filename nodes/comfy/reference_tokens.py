"""Tokens of references that the self-attention of ComfyUI's UNet attends to in addition to its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TOKENS = "magicdance_tokens"  # key of a call's `ReferenceTokens` in transformer_options
MASKED_LOGIT = -1e4  # softmax makes exactly 0 of it; infinity would give NaN in chunked attention

Block = tuple[str, int, int]
"""A transformer block in ComfyUI's numbering: "input", "middle" or "output", number, and index within."""


@dataclass(eq=False)
class ReferenceTokens:
    """Tokens of all sources that are active in a call of the UNet.

    blocks: block -> tokens `[B, n, C]`. B divides the batch; consecutive rows of the batch share a row.
    counts: block -> how many of the n tokens each source has.
    weights: for each source, its strength relative to the frame's own tokens, and its mask `[B, 1, h, w]` in [0, 1]
    (None for the whole frame).
    """

    blocks: dict[Block, Tensor]
    counts: dict[Block, tuple[int, ...]]
    weights: tuple[tuple[float, Tensor | None], ...]

    @property
    def weighted(self) -> bool:
        """Whether a source has a mask or a strength other than 1."""
        return any(strength != 1.0 or mask is not None for strength, mask in self.weights)

    def append(self, block: Block, context: Tensor) -> Tensor:
        """Return `context` `[batch, n, C]` with the tokens appended."""
        import torch

        from ...magicdance_core.models.attention import repeat_rows

        return torch.cat([context, repeat_rows(self.blocks[block].to(context), len(context))], dim=1)

    def bias(self, block: Block, q: Tensor, keys: int, size: tuple[int, int]) -> Tensor:
        """Return what the weights add to the logits of queries `[batch, T, C]`: `[1 or batch, 1, 1 or T, keys]`.

        size: height and width of the feature map, T = height * width.
        """
        import torch

        columns = [query_weights(strength, mask, q, size) for strength, mask in self.weights]
        rows, queries = (max(column.shape[axis] for column in columns) for axis in (0, 2))
        bias, start = q.new_zeros(rows, 1, queries, keys), keys - sum(self.counts[block])
        for column, count in zip(columns, self.counts[block]):
            bias[..., start : start + count] = torch.log(column).clamp(min=MASKED_LOGIT)
            start += count
        return bias


def query_weights(strength: float, mask: Tensor | None, q: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the weight of a source for each of the queries `[batch, T, C]`: `[1 or batch, 1, 1 or T, 1]`.

    Raises InputError if tokens were merged, so that the mask cannot be applied.
    """
    import torch.nn.functional as F

    from ...magicdance_core.errors import InputError
    from ...magicdance_core.models.attention import repeat_rows

    if mask is None:
        return q.new_full((1, 1, 1, 1), strength)
    if q.shape[1] != math.prod(size):
        raise InputError("`mask` does not work with merged tokens: remove the node that merges tokens, or the mask.")
    small = F.interpolate(mask, size, mode="area").flatten(2)[..., None] * strength
    return (small if len(small) == 1 else repeat_rows(small, len(q))).to(q)


def append_tokens(n: Tensor, context: Tensor, value: Tensor, extra_options: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Append the tokens: an attn1 patch that comes after all others, which change the frame's own tokens."""
    tokens, block = _at(extra_options)
    if block not in tokens.blocks:
        return n, context, value
    longer = tokens.append(block, context)
    return n, longer, longer if value is context else tokens.append(block, value)


def attend_weighted(q: Tensor, k: Tensor, v: Tensor, extra_options: dict) -> Tensor:
    """Compute self-attention with weighted tokens: an attn1 replacement."""
    from comfy.ldm.modules.attention import optimized_attention

    tokens, block = _at(extra_options)
    bias = tokens.bias(block, q, k.shape[1], tuple(extra_options["activations_shape"][-2:]))
    return optimized_attention(
        q, k, v, extra_options["n_heads"], mask=bias,
        attn_precision=extra_options["attn_precision"], transformer_options=extra_options,
    )  # fmt: skip


def _at(extra_options: dict) -> tuple[ReferenceTokens, Block]:
    return extra_options[TOKENS], (*extra_options["block"][:2], extra_options["block_index"])
