"""The two networks for videos whose features FVD and FID-VID compare: I3D and a 3D ResNet-50.

Parameters are named as in the files in use: i3d_pretrained_400.pt, rgb_imagenet.pt and resnet-50-kinetics.pth.

Sources: Carreira and Zisserman, "Quo vadis, action recognition?" (2017): Inception-v1 with kernels inflated in time,
batch normalisation, and TensorFlow's "same" padding, whose odd pixel goes to the end. Hara, Kataoka and Satoh, "Can
spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?" (2018): the bottleneck ResNet of He et al. with
3 x 3 kernels inflated to 3 x 3 x 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Channels of the four branches of I3D's blocks: 1x1; 1x1 then 3x3; 1x1 then 3x3; pooled then 1x1.
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
    """Pad [N, C, T, H, W] with zeros to ceil(size / stride) outputs, the odd one at the end."""
    padding: list[int] = []
    for size, width, step in zip(x.shape[:1:-1], kernel[::-1], stride[::-1]):
        missing = max((-(-size // step) - 1) * step + width - size, 0)
        padding += [missing // 2, missing - missing // 2]
    return F.pad(x, padding)


def pool_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Max-pool values >= 0, among which the padding never wins."""
    return F.max_pool3d(pad_same(x, kernel, stride), kernel, stride)


class ConvolutionUnit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=NORM_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(pad_same(x, self.conv3d.kernel_size, self.conv3d.stride))))


class InceptionBlock(nn.Module):
    """Four parallel branches, concatenated."""

    def __init__(self, inputs: int, channels: tuple[int, ...]):
        super().__init__()
        self.b0 = ConvolutionUnit(inputs, channels[0], 1)
        self.b1a, self.b1b = ConvolutionUnit(inputs, channels[1], 1), ConvolutionUnit(channels[1], channels[2], 3)
        self.b2a, self.b2b = ConvolutionUnit(inputs, channels[3], 1), ConvolutionUnit(channels[3], channels[4], 3)
        self.b3b = ConvolutionUnit(inputs, channels[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = pool_same(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """I3D: clips float [N, 3, T, 224, 224], RGB in [-1, 1], to logits [N, 400], the mean over time."""

    def __init__(self, classes: int = 400):
        super().__init__()
        self.Conv3d_1a_7x7 = ConvolutionUnit(3, 64, 7, 2)
        self.Conv3d_2b_1x1 = ConvolutionUnit(64, 64, 1)
        self.Conv3d_2c_3x3 = ConvolutionUnit(64, 192, 3)
        channels = 192
        for name, widths in BLOCKS.items():
            self.add_module(name, InceptionBlock(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.logits = nn.ModuleDict({"conv3d": nn.Conv3d(channels, classes, 1)})

    def forward(self, clips: Tensor) -> Tensor:
        x = pool_same(self.Conv3d_1a_7x7(clips), (1, 3, 3), (1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name in BLOCKS:
            if name in POOLINGS:
                x = pool_same(x, *POOLINGS[name])
            x = self.get_submodule(name)(x)
        # The classifier is linear, so the mean over time and space can come first.
        return self.logits["conv3d"](x.mean(dim=(2, 3, 4), keepdim=True)).flatten(1)


EXPANSION = 4  # of a bottleneck's channels


class Bottleneck(nn.Module):
    """Residual block of 1x1x1, 3x3x3 and 1x1x1 convolutions; the shortcut is projected if the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int):
        super().__init__()
        outputs = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv3d(inputs, width, 1, bias=False), nn.BatchNorm3d(width)
        self.conv2 = nn.Conv3d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(width)
        self.conv3, self.bn3 = nn.Conv3d(width, outputs, 1, bias=False), nn.BatchNorm3d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            projection = nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm3d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(x)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        hidden = self.bn3(self.conv3(hidden))
        return F.relu(hidden + (x if self.downsample is None else self.downsample(x)))


class ResNet3D(nn.Module):
    """3D ResNet: clips float [N, 3, 16, 112, 112], RGB in 0..255 less the training data's mean, to features [N, 2048].

    The features are the last layer's mean over time and space. width, depths: of ResNet-50 by default.
    """

    def __init__(self, width: int = 64, depths: tuple[int, ...] = (3, 4, 6, 3)):
        super().__init__()
        self.conv1 = nn.Conv3d(3, width, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(width)
        channels = width
        for level, depth in enumerate(depths):
            inner, blocks = width * 2**level, []
            for number in range(depth):
                blocks.append(Bottleneck(channels, inner, 2 if level > 0 and number == 0 else 1))
                channels = EXPANSION * inner
            self.add_module(f"layer{level + 1}", nn.Sequential(*blocks))
        self.levels = len(depths)

    def forward(self, clips: Tensor) -> Tensor:
        x = F.max_pool3d(F.relu(self.bn1(self.conv1(clips))), 3, stride=2, padding=1)
        for level in range(self.levels):
            x = self.get_submodule(f"layer{level + 1}")(x)
        return x.mean(dim=(2, 3, 4))
