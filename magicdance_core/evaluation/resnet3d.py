"""The 3D ResNet-50 whose features FID-VID compares.

Source: Hara, Kataoka and Satoh, "Can spatiotemporal 3D CNNs retrace the history of 2D CNNs and ImageNet?" (2018): the
bottleneck ResNet of He et al. with each 3 x 3 kernel grown to 3 x 3 x 3. Parameters are named as in the file that is in
use, resnet-50-kinetics.pth.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4


class Bottleneck(nn.Module):
    """Narrow, look around, widen; and around it the input itself, projected where its shape changes."""

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
    """Clips to features: float [N, 3, 16, 112, 112], RGB in 0..255 less the training data's mean, to [N, 2048].

    The features are what the classifier would read: the last layer's mean over time and space. width, depths: of
    ResNet-50 by default.
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
