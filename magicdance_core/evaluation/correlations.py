"""How alike the features of two pictures are around places: what tells point trackers and optical flow of movement.

Source: Teed and Deng, "RAFT" (2020): all pairs are compared, then looked up around a place at several sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS, RADIUS = 4, 3  # halved sizes, and cells around a place
COSTS = LEVELS * (2 * RADIUS + 1) ** 2


def halved_sizes(features: Tensor) -> list[Tensor]:
    """Return features [N, C, h, w] at LEVELS sizes; h and w are at least 2 ** (LEVELS - 1)."""
    pyramid = [features]
    while len(pyramid) < LEVELS:
        pyramid.append(F.avg_pool2d(pyramid[-1], 2))
    return pyramid


def correlations(pyramid: Sequence[Tensor], wanted: Tensor) -> list[Tensor]:
    """Return how alike features [N, P, C] and all cells of their pictures are, [N * P, 1, h, w] for each level.

    pyramid: the pictures' features, from `halved_sizes`.
    """
    volumes = [wanted @ level.flatten(2) / wanted.shape[2] ** 0.5 for level in pyramid]
    return [volume.reshape(-1, 1, *level.shape[2:]) for volume, level in zip(volumes, pyramid)]


def around(volumes: Sequence[Tensor], places: Tensor) -> Tensor:
    """Return the values around places [N, P, 2], [N, P, COSTS], column by column; 0 beyond the border.

    Places are x and y in cells of the first level, which needs levels of at least two cells a side.
    """
    reach = torch.arange(-RADIUS, RADIUS + 1.0, device=places.device, dtype=places.dtype)
    offsets = torch.stack(torch.meshgrid(reach, reach, indexing="ij"), dim=-1)
    found = []
    for level, volume in enumerate(volumes):
        cells = places.reshape(-1, 1, 1, 2) / 2**level + offsets
        found.append(sampled(volume, cells, "zeros").reshape(*places.shape[:2], -1))
    return torch.cat(found, dim=2)


def sampled(values: Tensor, cells: Tensor, beyond: str = "border") -> Tensor:
    """Return values [N, C, h, w] at cells [N, a, b, 2], x and y, bilinear: [N, C, a, b].

    beyond: "border" to repeat the outermost values there, or "zeros".
    """
    height, width = values.shape[2:]
    grid = 2 * cells / cells.new_tensor([width - 1, height - 1]) - 1
    return F.grid_sample(values, grid, padding_mode=beyond, align_corners=True)
