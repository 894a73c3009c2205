"""What FVMD compares: histograms of how points of a clip move and accelerate.

Source: Liu et al., "Frechet Video Motion Distance" (2024, arXiv 2407.16124), and the numbers of its authors' tool. That
tool takes differences of places for accelerations, here they are differences of velocities, as in the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..errors import InputError
from .metric_weights import load_metric_network
from .point_tracker import PointTracker

SIZE, CLIP = 256, 16
POINTS, MARGIN = 20, 8  # a side of the grid; pixels to the picture's border
ITERATIONS = 16
ANGLES, LARGEST = 8, 256  # bins of directions; magnitudes in pixels a frame are counted by their logarithm up to this
CELL, FRAMES = 5, 4  # points and frames of a histogram's block
FRAMES_AT_ONCE = 8


@dataclass(frozen=True)
class MotionExtractor:
    """FVMD's features: histograms of the velocities and accelerations of points that PIPs++ follows."""

    network: PointTracker
    device: torch.device
    name: str = "pips"
    window: int = CLIP

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> MotionExtractor:
        """Load PIPs++. Raises InputError if the file is of another network."""
        from ..checkpoints.tensors import TensorFile

        try:
            network = PointTracker.of_shapes(TensorFile(path).shapes)
        except (KeyError, IndexError) as error:
            raise InputError(f"{path} is no PIPs++ ({error} is missing); see --weights-help.") from error
        return cls(load_metric_network(network, path, ignored=("norm.",)).to(device), device)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    @torch.inference_mode()
    def extract(self, prepared: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(prepared).permute(0, 3, 1, 2)
        encoded = [self.network.encode(part.to(self.device).float()) for part in frames.split(FRAMES_AT_ONCE)]
        features, places = torch.cat(encoded), []
        for first in range(len(features) - self.window + 1):
            clip = features[first : first + self.window]
            places.append(self.network.track(clip, _grid_points(self.device), ITERATIONS).cpu().numpy())
        return np.stack([motion_histograms(one) for one in places])


def motion_histograms(places: np.ndarray) -> np.ndarray:
    """Return the histograms of points' velocities, then of their accelerations, float32 [2 * blocks * ANGLES].

    places: [T, N, 2], of a square grid of points, row by row. What a frame has no predecessor for is 0.
    """
    side = round(places.shape[1] ** 0.5)
    velocities = np.diff(places, axis=0, prepend=places[:1])
    accelerations = np.diff(velocities, axis=0, prepend=velocities[:1])
    accelerations[:2] = 0  # the first movement is no change of one
    fields = (values.reshape(len(places), side, side, 2) for values in (velocities, accelerations))
    return np.concatenate([_histograms(field).ravel() for field in fields]).astype(np.float32)


def _histograms(vectors: np.ndarray) -> np.ndarray:
    """Return the histogram of directions of each block of vectors [T, H, W, 2]: [T / 4, H / 5, W / 5, ANGLES].

    A vector counts by the logarithm of its length, rounded up to a whole one.
    """
    turned = np.arctan2(vectors[..., 0], vectors[..., 1]) + np.pi
    bins = (turned // (2 * np.pi / ANGLES)).clip(0, ANGLES - 1).astype(int)
    lengths = np.linalg.norm(vectors, axis=-1).clip(max=LARGEST - 1)
    weights = np.ceil(np.log2(1 + lengths)) / np.log2(LARGEST)
    counted = np.eye(ANGLES)[bins] * weights[..., None]
    times, rows, columns = (size // part for size, part in zip(vectors.shape, (FRAMES, CELL, CELL)))
    counted = counted[: times * FRAMES, : rows * CELL, : columns * CELL]
    return counted.reshape(times, FRAMES, rows, CELL, columns, CELL, ANGLES).sum(axis=(1, 3, 5))


def _grid_points(device: torch.device) -> torch.Tensor:
    """Return the points of the first frame, float [POINTS ** 2, 2], x and y, row by row."""
    places = torch.linspace(MARGIN, SIZE - MARGIN, POINTS, device=device)
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)
