"""Where two pictures differ, as a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image


def difference(made: Image.Image, true: Image.Image, amplified: float = 3) -> Image.Image:
    """The absolute difference of two RGB pictures of one size, so many times stronger; equal parts are black."""
    values = np.abs(np.asarray(made, np.int16) - np.asarray(true, np.int16)) * amplified
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
