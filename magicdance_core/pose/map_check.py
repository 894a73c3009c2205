"""Tell pose maps from other pictures: a dance video given as poses runs to the end and gives garbage."""

from collections.abc import Iterable

import numpy as np

from ..errors import InputError

CHECKED = 8  # frames with anything in them; frames without a person are black and say nothing
MAX_SIDE = 512  # larger maps are looked at in every second, third, ... row and column
BLACK = 40  # black is noisy in lossy videos
# A map is mostly black. What is drawn is white (faces) or saturated, in several of the palette's hues unless only
# few joints are visible.
FEW, MAX_DRAWN, MIN_STROKES, MIN_COLOURED, MIN_HUES = 0.02, 0.5, 0.4, 0.05, 3
WHITE, SATURATION = 190, 0.55
HUES, MIN_HUE = 6, 0.02  # sectors of the colour circle, and the share of the coloured pixels that counts as one


def check_pose_maps(pictures: Iterable, name: str) -> None:
    """Raise InputError unless most of the first CHECKED pictures that are not black look like pose maps.

    pictures: RGB, uint8 [H, W, 3] or PIL. name: of their file or folder, in the message, which has the remedy.
    """
    count, verdicts = 0, []
    for picture in pictures:
        count += 1
        pixels = _small(np.asarray(picture))
        if (pixels.max(axis=-1) > BLACK).any():
            verdicts.append((looks_like_pose_map(pixels), looks_like_pose_map(255 - pixels)))
        if len(verdicts) == CHECKED:
            break
    if not verdicts:
        raise InputError(
            f"{name} has no pose: all of its {count} frames are black. Give the pose maps or keypoints that `extract` "
            "makes of a video, or the video itself with `animate --video`."
        )
    maps, inverted = np.mean(verdicts, axis=0)
    if maps > 0.5:
        return
    if inverted > 0.5:
        raise InputError(f"{name} has pose maps on a light ground: invert their colours, as poses are drawn on black.")
    raise InputError(
        f"{name} does not show OpenPose maps, coloured skeletons on black: make them with `extract`, or give a dance "
        "video with `animate --video` in place of --poses."
    )


def looks_like_pose_map(picture: np.ndarray) -> bool:
    """Return whether a picture, uint8 [H, W, 3] RGB, has coloured strokes of several hues on black."""
    pixels = _small(picture).reshape(-1, 3).astype(np.int16)
    drawn = pixels[pixels.max(axis=-1) > BLACK]
    if not 0 < len(drawn) <= MAX_DRAWN * len(pixels):
        return False
    high, low = drawn.max(axis=-1), drawn.min(axis=-1)
    coloured = low < (1 - SATURATION) * high
    strokes = coloured | (low > WHITE)
    if strokes.mean() < MIN_STROKES or coloured.mean() < MIN_COLOURED:
        return False
    hues = np.bincount(_hue(drawn[coloured], high[coloured], low[coloured]), minlength=HUES) / coloured.sum()
    few = len(drawn) <= FEW * len(pixels)
    return int((hues > MIN_HUE).sum()) >= (1 if few else MIN_HUES)


def _hue(colours: np.ndarray, high: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Return the sector of the colour circle, 0 to HUES - 1, that each colour [n, 3] is in."""
    red, green, blue = colours.T
    spread = (high - low).astype(np.float64)
    hue = np.where(
        high == red,
        (green - blue) / spread % 6,
        np.where(high == green, (blue - red) / spread + 2, (red - green) / spread + 4),
    )
    return (hue * HUES / 6).astype(int) % HUES


def _small(picture: np.ndarray) -> np.ndarray:
    step = -(-max(picture.shape[:2]) // MAX_SIDE)
    return picture[::step, ::step]
