"""The view of a sample: the crop, mirroring and colours that reference, targets, pose maps and regions share."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .samples import below, uniform

Size = tuple[int, int]
"""Width and height in pixels."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class CropBox:
    """A part of a picture: left, top, width and height in whole pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Colours:
    """A mild change of colours: factors of brightness, contrast (around mid-grey) and saturation, about 1."""

    brightness: float
    contrast: float
    saturation: float

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Change a picture, uint8 `[H, W, 3]`; equal pixels stay equal, whichever picture they are in."""
        pixels = picture.astype(np.float32) * self.brightness
        pixels = (pixels - 127.5) * self.contrast + 127.5
        grey = (pixels @ LUMA)[..., None]
        return (grey + (pixels - grey) * self.saturation).round().clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class View:
    """How the frames of a sample are seen. box: of the mirrored frame, if it is `mirrored`."""

    box: CropBox
    mirrored: bool = False
    colours: Colours | None = None

    def picture(self, picture: np.ndarray, size: Size) -> np.ndarray:
        """Return a picture uint8 `[H, W, 3]`, read as `mirrored` says, in this view."""
        part = crop_picture(picture, self.box, size)
        return part if self.colours is None else self.colours.apply(part)


def bucket_size(width: int, height: int, side: int, step: int) -> Size:
    """Return the size that training gives to pictures of a width and height.

    step: 0 for squares of `side`; else the size has about side * side pixels, nearly the pictures' aspect ratio (from
    1:2 to 2:1), and sides that are multiples of `step` (aspect-ratio buckets, as in NovelAI's trainer and sd-scripts).
    """
    if not step:
        return side, side
    root = min(max(width / height, 0.5), 2.0) ** 0.5
    wide, high = (max(step, round(value / step) * step) for value in (side * root, side / root))
    return wide, high


def central_crop(width: int, height: int, size: Size = (1, 1)) -> CropBox:
    """Return the largest box of the aspect ratio of `size` in the middle, as published for squares."""
    wide, high = _largest(width, height, size)
    return CropBox((width - wide) // 2, (height - high) // 2, wide, high)


def random_crop(
    width: int, height: int, shares: tuple[float, float], source: torch.Generator, size: Size = (1, 1)
) -> CropBox:
    """Return a box of the aspect ratio of `size` anywhere in the picture, between two shares of the largest one."""
    widest, highest = _largest(width, height, size)
    smallest, largest = (max(1, round(share * widest)) for share in shares)
    wide = round(smallest + uniform(source) * (largest - smallest))
    high = wide if size[0] == size[1] else max(1, min(highest, round(wide * size[1] / size[0])))
    return CropBox(below(source, width - wide + 1), below(source, height - high + 1), wide, high)


def random_colours(strength: float, source: torch.Generator) -> Colours | None:
    """Draw factors from 1 - strength to 1 + strength; None for a strength of 0."""
    return Colours(*(1 + strength * (2 * uniform(source) - 1) for _ in range(3))) if strength else None


def _largest(width: int, height: int, size: Size) -> Size:
    scale = min(width / size[0], height / size[1])
    return max(1, min(width, round(scale * size[0]))), max(1, min(height, round(scale * size[1])))


def crop_picture(picture: np.ndarray, box: CropBox, size: Size) -> np.ndarray:
    """Crop a picture uint8 `[H, W, 3]` and resize it to a width and height (antialiased bilinear, as published)."""
    part = picture[box.top : box.top + box.height, box.left : box.left + box.width]
    if (box.width, box.height) == tuple(size):
        return part
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.BILINEAR))


def crop_regions(regions: np.ndarray, box: CropBox, size: Size) -> np.ndarray:
    """Return boxes `[n, 4]` in pixels of the resized crop; they may extend beyond it."""
    shift = np.array([box.left, box.top] * 2, np.float32)
    scale = np.array([size[0] / box.width, size[1] / box.height] * 2, np.float32)
    return np.where(regions.any(-1, keepdims=True), (regions - shift) * scale, 0)


def mirror_regions(regions: np.ndarray, width: int) -> np.ndarray:
    """Return the boxes of `frame_sets.REGIONS`, `[3, 4]`, in the mirrored picture; the hands change places."""
    mirrored = regions[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32) + np.array([width, 0, width, 0])
    return np.where(regions.any(-1, keepdims=True), mirrored, 0).astype(np.float32)[[0, 2, 1]]


def region_weights(regions: np.ndarray, size: Size, factor: int, weights: tuple[float, float]) -> torch.Tensor:
    """Return loss weights `[1, h, w]`: `weights` within the boxes of head and hands, 1 elsewhere.

    regions: `[3, 4]` in pixels of a picture of `size`; a cell of the result has `factor` x `factor` of them. weights:
    (head, hands); the head's counts where boxes overlap.
    """
    wide, high = (side // factor for side in size)
    result = torch.ones(1, high, wide)
    columns, rows = ((torch.arange(count) + 0.5) * factor for count in (wide, high))
    for (x0, y0, x1, y1), weight in zip(regions[::-1].tolist(), (weights[1], weights[1], weights[0])):
        if weight != 1 and x1 > x0:
            inside_x, inside_y = (columns >= x0) & (columns <= x1), (rows >= y0) & (rows <= y1)
            result[0][inside_y[:, None] & inside_x[None, :]] = weight
    return result
