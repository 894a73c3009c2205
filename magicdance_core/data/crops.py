"""Square crops that reference, target, pose map and regions of a sample share."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .samples import below, uniform


@dataclass(frozen=True)
class CropBox:
    """A square of a picture: left, top and side in whole pixels."""

    left: int
    top: int
    side: int


def central_crop(width: int, height: int) -> CropBox:
    """Return the largest square in the middle, as published."""
    side = min(width, height)
    return CropBox((width - side) // 2, (height - side) // 2, side)


def random_crop(width: int, height: int, shares: tuple[float, float], source: torch.Generator) -> CropBox:
    """Return a square anywhere in the picture; its side is between two shares of the shorter side."""
    smallest, largest = (max(1, round(share * min(width, height))) for share in shares)
    side = round(smallest + uniform(source) * (largest - smallest))
    return CropBox(below(source, width - side + 1), below(source, height - side + 1), side)


def crop_picture(picture: np.ndarray, box: CropBox, size: int) -> np.ndarray:
    """Crop a picture uint8 `[H, W, 3]` and resize it to `[size, size, 3]` (antialiased bilinear, as published)."""
    part = picture[box.top : box.top + box.side, box.left : box.left + box.side]
    if box.side == size:
        return part
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR))


def crop_regions(regions: np.ndarray, box: CropBox, size: int) -> np.ndarray:
    """Return boxes `[n, 4]` in pixels of the resized crop; they may extend beyond it."""
    shift = np.array([box.left, box.top] * 2, np.float32)
    return np.where(regions.any(-1, keepdims=True), (regions - shift) * (size / box.side), 0)


def region_weights(regions: np.ndarray, size: int, grid: int, weights: tuple[float, float]) -> torch.Tensor:
    """Return loss weights `[1, grid, grid]`: `weights` within the boxes of head and hands, 1 elsewhere.

    regions: `[3, 4]` in pixels of a picture of `size` x `size`. weights: (head, hands); the head's counts where boxes
    overlap.
    """
    result = torch.ones(1, grid, grid)
    centres = (torch.arange(grid) + 0.5) * (size / grid)
    for (x0, y0, x1, y1), weight in zip(regions[::-1].tolist(), (weights[1], weights[1], weights[0])):
        if weight != 1 and x1 > x0:
            inside_x, inside_y = (centres >= x0) & (centres <= x1), (centres >= y0) & (centres <= y1)
            result[0][inside_y[:, None] & inside_x[None, :]] = weight
    return result
