"""Cut squares at positions between pixels out of pictures, with antialiasing, and blend them back."""

from math import ceil, floor

import numpy as np
from PIL import Image

FEATHER = 0.18  # part of a square's side, from its border, in which it fades into the picture


def cut_square(picture: Image.Image, left: float, top: float, side: float, size: int) -> Image.Image:
    """Return a square of a picture (bicubic), size x size pixels; beyond its border the picture's edge continues."""
    right, bottom = left + side, top + side
    before = [max(0, ceil(-start)) for start in (top, left)]
    after = [max(0, ceil(end - length)) for end, length in ((bottom, picture.height), (right, picture.width))]
    if any(before + after):
        picture = Image.fromarray(np.pad(np.asarray(picture), (*zip(before, after), (0, 0)), mode="edge"))
    box = left + before[1], top + before[0], right + before[1], bottom + before[0]
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


def blend_square(picture: np.ndarray, square: Image.Image, left: float, top: float, side: float) -> np.ndarray:
    """Return a picture with a square put where `cut_square` took it from; float32 [H, W, 3] in [0, 1] both.

    It fades out towards its border, where its mean colour is matched to the picture's.
    """
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (
        max(0, ceil(left)),
        max(0, ceil(top)),
        min(width, floor(left + side)),
        min(height, floor(top + side)),
    )
    if x0 >= x1 or y0 >= y1:
        return picture
    scale = square.width / side
    box = (x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale
    inner = square.resize((x1 - x0, y1 - y0), Image.Resampling.BICUBIC, box=box)
    new, old = np.asarray(inner, np.float32) / 255, picture[y0:y1, x0:x1]
    rows, columns = (np.arange(y0, y1) + 0.5 - top) / side, (np.arange(x0, x1) + 0.5 - left) / side
    weight = (_fade(rows)[:, None] * _fade(columns))[..., None]
    ring = weight * (1 - weight)
    shift = (ring * (old - new)).sum((0, 1)) / max(float(ring.sum()), 1e-6)
    blended = picture.copy()
    blended[y0:y1, x0:x1] = np.clip(old + weight * (new + shift - old), 0, 1)
    return blended


def _fade(places: np.ndarray) -> np.ndarray:
    """Return weights of places from 0 to 1 across a square: 1 inside, smoothly to 0 at both ends."""
    ramp = np.clip(np.minimum(places, 1 - places) / FEATHER, 0, 1)
    return ramp * ramp * (3 - 2 * ramp)
