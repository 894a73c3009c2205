"""A vision transformer whose sizes follow from a file's tensors: DINO's for pictures, VideoMAE's for clips.

Parameters are named as in dino_vitbase16_pretrain.pth and vit_g_hybrid_pt_1200e_ssv2_ft.pth.

Sources: Dosovitskiy et al., "An image is worth 16x16 words" (2021); Caron et al., "Emerging properties in
self-supervised vision transformers" (2021); Tong et al., "VideoMAE" (2022); Wang et al., "VideoMAE V2" (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPSILON = 1e-6


class SelfAttention(nn.Module):
    """Attention among tokens `[N, T, C]`. split_bias: biases of queries and values only, as VideoMAE has them."""

    def __init__(self, width: int, heads: int, split_bias: bool):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=not split_bias)
        if split_bias:
            self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.qkv.bias
        if bias is None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.v_bias), self.v_bias])
        mixed = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1))
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention and a perceptron, each after a normalisation and added to its input."""

    def __init__(self, width: int, heads: int, hidden: int, split_bias: bool):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, NORM_EPSILON) for _ in range(2))
        self.attn = SelfAttention(width, heads, split_bias)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """Pictures `[N, 3, H, W]` to the class token, or clips `[N, 3, T, H, W]` to the mean over tokens: `[N, C]`.

    patch: kernel of the patches: (height, width), or (frames, height, width) for clips. tokens: learned positions, the
    class token's first; 0 for clips, whose positions are sines.
    """

    def __init__(self, width: int, depth: int, heads: int, hidden: int, patch: tuple[int, ...], tokens: int):
        super().__init__()
        self.is_clip = len(patch) == 3
        convolution: Any = nn.Conv3d if self.is_clip else nn.Conv2d
        self.patch_embed = nn.ModuleDict({"proj": convolution(3, width, patch, patch)})
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, hidden, self.is_clip) for _ in range(depth))
        if self.is_clip:
            self.fc_norm = nn.LayerNorm(width, NORM_EPSILON)
        else:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
            self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
            self.norm = nn.LayerNorm(width, NORM_EPSILON)

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]], heads: int) -> VisionTransformer:
        """Return a network of the sizes that tensors have. heads: which no tensor tells.

        Raises KeyError if a tensor of every such network is missing.
        """
        width, _, *patch = shapes["patch_embed.proj.weight"]
        depth = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("blocks."))
        hidden, tokens = shapes["blocks.0.mlp.fc1.weight"][0], shapes.get("pos_embed", (1, 0, 0))[1]
        return cls(width, depth, heads, hidden, tuple(patch), tokens)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2)
        if self.is_clip:
            x = x + sines(x.shape[1], x.shape[2]).to(x)
        else:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.fc_norm(x.mean(1)) if self.is_clip else self.norm(x)[:, 0]


def sines(positions: int, width: int) -> Tensor:
    """Return the positions' sines and cosines, `[positions, width]` (Vaswani et al., 2017)."""
    column = torch.arange(width, dtype=torch.float64)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] / 10000 ** (2 * (column // 2) / width)
    return torch.where(column % 2 == 0, angles.sin(), angles.cos()).float()
