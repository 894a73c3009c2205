"""Square crops that reference, target, pose map and regions share."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .samples import below, uniform


@dataclass(frozen=True)
class Window:
    """A square of a picture: left, top and side in whole pixels."""

    left: int
    top: int
    side: int


def central_window(width: int, height: int) -> Window:
    """The published one: the largest square in the middle."""
    side = min(width, height)
    return Window((width - side) // 2, (height - side) // 2, side)


def random_window(width: int, height: int, shares: tuple[float, float], source: torch.Generator) -> Window:
    """A square anywhere in the picture, its side between two shares of the short side."""
    smallest, largest = (max(1, round(share * min(width, height))) for share in shares)
    side = round(smallest + uniform(source) * (largest - smallest))
    return Window(below(source, width - side + 1), below(source, height - side + 1), side)


def crop_picture(picture: np.ndarray, window: Window, size: int) -> np.ndarray:
    """The window of a picture uint8 `[H, W, 3]`, resized to `[size, size, 3]` (antialiased bilinear, as published)."""
    rows, columns = slice(window.top, window.top + window.side), slice(window.left, window.left + window.side)
    part = picture[rows, columns]
    if window.side == size:
        return part
    return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR))


def crop_regions(regions: np.ndarray, window: Window, size: int) -> np.ndarray:
    """Boxes `[n, 4]` in pixels of the resized crop; they may reach out of it."""
    shift = np.array([window.left, window.top] * 2, np.float32)
    return np.where(regions.any(-1, keepdims=True), (regions - shift) * (size / window.side), 0)


def region_weights(regions: np.ndarray, size: int, grid: int, weights: tuple[float, float]) -> torch.Tensor:
    """Loss weights `[1, grid, grid]`: of the head and of the hands within their boxes, 1 elsewhere.

    regions: `[3, 4]` in pixels of a picture of `size` x `size`. weights: (head, hands); where boxes overlap, the head's
    counts.
    """
    result = torch.ones(1, grid, grid)
    centres = (torch.arange(grid) + 0.5) * (size / grid)
    for (x0, y0, x1, y1), weight in zip(regions[::-1].tolist(), (weights[1], weights[1], weights[0])):
        if weight != 1 and x1 > x0:
            inside_x, inside_y = (centres >= x0) & (centres <= x1), (centres >= y0) & (centres <= y1)
            result[0][inside_y[:, None] & inside_x[None, :]] = weight
    return result
