"""AdaFace's network, which the paper measures Face-Cos with: an improved ResNet that embeds aligned faces.

Parameters are named as in adaface_ir101_webface12m.ckpt and its siblings. Sources: Kim, Jain and Liu, "AdaFace: quality
adaptive margin for face recognition" (2022); Deng et al., "ArcFace" (2019), for the residual unit.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

UNITS = {50: (3, 4, 14, 3), 101: (3, 13, 30, 3)}
"""Number of layers -> residual units of each level."""
SIDE, FEATURES = 112, 512


class ResidualUnit(nn.Module):
    """Two convolutions between normalisations; the shortcut is sampled, and projected if its width changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(projection, nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


class AdaFace(nn.Module):
    """Aligned faces `[N, 3, 112, 112]`, BGR in [-1, 1], to unit vectors `[N, 512]`. width: 64; others are for tests."""

    def __init__(self, units: tuple[int, ...] = UNITS[101], width: int = 64):
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        channels, body = width, []
        for level, count in enumerate(units):
            outputs = width * 2**level
            for number in range(count):
                body.append(ResidualUnit(channels, outputs, 1 if number else 2))
                channels = outputs
        self.body = nn.Sequential(*body)
        cells = (SIDE // 2 ** len(units)) ** 2
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(channels * cells, FEATURES),
            nn.BatchNorm1d(FEATURES, affine=False),
        )

    def forward(self, faces: Tensor) -> Tensor:
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))), dim=1)
