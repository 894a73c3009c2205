"""The custom operators of MediaPipe's face network as torch modules: they look again at lips and eyes.

Maps are [1, C, H, W], matrices [1, 4, 4], of which rows and columns 0 and 1 and column 3 are used.
Source: "Attention Mesh", arXiv 2006.10962; conventions measured on the real network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .flatbuffers import flexbuffer_map


class RegionMatrix(nn.Module):
    """Landmarks [1, N, 3] to the matrix [1, 4, 4] from cells of an output map to cells of the landmarks' map.

    The region is the box around the landmarks `subset_idxs`, upright once the line between the landmarks
    `left_rotation_idx` and `right_rotation_idx` is turned to `target_rotation_radians`, and scaled.
    """

    subset: Tensor

    def __init__(self, options: dict):
        super().__init__()
        self.ends = [options["left_rotation_idx"], options["right_rotation_idx"]]
        self.target = float(options["target_rotation_radians"])
        self.register_buffer("subset", torch.tensor(options["subset_idxs"]))
        self.size = (options["output_width"], options["output_height"])
        self.scales = (options["scale_x"], options["scale_y"])

    def forward(self, landmarks: Tensor) -> Tensor:
        points = landmarks[0, :, :2]
        left, right = points[self.ends[0]], points[self.ends[1]]
        turn = self.target - torch.atan2(right[1] - left[1], right[0] - left[0])
        cos, sin = torch.cos(turn), torch.sin(turn)
        rotation = torch.stack([torch.stack([cos, -sin]), torch.stack([sin, cos])])
        turned = points[self.subset.to(points.device)] @ rotation.T
        high, low = turned.amax(0), turned.amin(0)
        size, scales = turned.new_tensor(self.size), turned.new_tensor(self.scales)
        linear = rotation.T * (scales * (high - low) / size)
        matrix = torch.eye(4, dtype=points.dtype, device=points.device)
        matrix[:2, :2] = linear
        matrix[:2, 3] = rotation.T @ (high + low) / 2 - linear @ (size / 2)
        return matrix[None]


class SampleRegion(nn.Module):
    """A map [1, C, H, W] and a matrix [1, 4, 4] to a map of `size` (height, width); zeros outside the first map."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, features: Tensor, matrix: Tensor) -> Tensor:
        height, width = self.size
        v, u = (torch.arange(n, dtype=matrix.dtype, device=matrix.device) + 0.5 for n in (height, width))
        cells = torch.stack([u.expand(height, width), v[:, None].expand(height, width)], dim=-1)
        places = cells @ matrix[0, :2, :2].T + matrix[0, :2, 3] - 0.5
        last = places.new_tensor([features.shape[3] - 1, features.shape[2] - 1])
        inside = ((places >= 0) & (places <= last)).all(-1)
        grid = (2 * places / last - 1)[None]
        sampled = F.grid_sample(features, grid, mode="bilinear", padding_mode="border", align_corners=True)
        return sampled * inside


class MapPoints(nn.Module):
    """Points [1, N, 2] through a matrix [1, 4, 4]."""

    def forward(self, points: Tensor, matrix: Tensor) -> Tensor:
        return points @ matrix[:, :2, :2].transpose(1, 2) + matrix[:, None, :2, 3]


# Name in the file -> function of the operator's options and the file's shape of its output.
CUSTOM_MODULES: dict[str, Callable[[bytes, tuple[int, ...]], nn.Module]] = {
    "Landmarks2TransformMatrix": lambda options, shape: RegionMatrix(flexbuffer_map(options)),
    "TransformTensorBilinear": lambda options, shape: SampleRegion((shape[1], shape[2])),
    "TransformLandmarks": lambda options, shape: MapPoints(),
}
