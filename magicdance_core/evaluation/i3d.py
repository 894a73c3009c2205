"""The inflated Inception whose logits FVD compares.

Source: Carreira and Zisserman, "Quo vadis, action recognition?" (2017): Inception-v1 with each kernel grown in time,
batch normalisation, and TensorFlow's "same" padding, whose odd pixel goes to the end. Parameters are named as in the
files that are in use, i3d_pretrained_400.pt and rgb_imagenet.pt.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels of a block's four branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooled then 1x1.
BLOCKS = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Kernel and stride (time, height, width) of the pooling before a block.
POOLINGS = {"Mixed_3b": ((1, 3, 3), (1, 2, 2)), "Mixed_4b": ((3, 3, 3), (2, 2, 2)), "Mixed_5b": ((2, 2, 2), (2, 2, 2))}
NORM_EPSILON = 1e-3


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Zeros around [N, C, T, H, W] so that ceil(size / stride) places remain; of an odd number, one more at the end."""
    padding: list[int] = []
    for size, width, step in zip(x.shape[:1:-1], kernel[::-1], stride[::-1]):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        padding += [missing // 2, missing - missing // 2]
    return F.pad(x, padding)


def pool_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Max pooling of what is nowhere negative, so that the zeros around it never win."""
    return F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))))


class Block(nn.Module):
    """Four branches beside each other."""

    def __init__(self, inputs: int, channels: tuple[int, ...]):
        super().__init__()
        self.b0 = Unit(inputs, channels[0], 1)
        self.b1a, self.b1b = Unit(inputs, channels[1], 1), Unit(channels[1], channels[2], 3)
        self.b2a, self.b2b = Unit(inputs, channels[3], 1), Unit(channels[3], channels[4], 3)
        self.b3b = Unit(inputs, channels[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """Clips to logits: float [N, 3, T, 224, 224], RGB in [-1, 1], to [N, 400], their mean over time."""

    def __init__(self, classes: int = 400):
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = Unit(64, 64, 1)
        self.Conv3d_2c_3x3 = Unit(64, 192, 3)
        channels = 192
        for name, widths in BLOCKS.items():
            self.add_module(name, Block(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(channels, classes, 1)})

    def forward(self, clips: Tensor) -> Tensor:
        x = pool_same(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in BLOCKS:
            if name in POOLINGS:
                x = pool_same(x, *POOLINGS[name])
            x = self.get_submodule(name)(x)
        # The classifier is linear, so the mean over time and space may come before it.
        return self.logits["conv3d"](x.mean(dim=(2, 3, 4), keepdim=True)).flatten(1)
