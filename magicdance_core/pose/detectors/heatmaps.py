"""From heat maps to points."""

import cv2
import numpy as np

STRIDE = 8
BLUR = 2.0


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Heat maps [C, h, w] at the size of the picture that went into the network: float32 [8h, 8w, C]."""
    height, width = (STRIDE * side for side in maps.shape[1:])
    channels = [cv2.resize(channel, (width, height), interpolation=cv2.INTER_CUBIC) for channel in maps]
    return np.stack(channels, axis=-1)


def peaks(heat: np.ndarray, threshold: float) -> np.ndarray:
    """Local maxima of a map [H, W] above the threshold after a slight blur: [N, 3] x, y, height of the map.

    x and y are in pixels from the top left corner of the map, a pixel's centre being at a half; a parabola through
    the neighbours places them between pixels.
    """
    blurred = cv2.GaussianBlur(heat, (0, 0), BLUR)
    highest = (blurred >= cv2.dilate(blurred, np.ones((3, 3)))) & (blurred > threshold)
    rows, columns = np.nonzero(highest)
    return np.array([_refined(heat, blurred, x, y) for x, y in zip(columns, rows)]).reshape(-1, 3)


def highest_points(maps: np.ndarray, threshold: float) -> np.ndarray:
    """The highest peak of each map [C, h, w]: [C, 3] x, y in pixels of `enlarged`, and height; else zeros."""
    points = np.zeros((len(maps), 3))
    for k, heat in enumerate(np.moveaxis(enlarged(maps), -1, 0)):
        blurred = cv2.GaussianBlur(heat, (0, 0), BLUR)
        y, x = np.unravel_index(blurred.argmax(), blurred.shape)
        if blurred[y, x] > threshold:
            points[k] = _refined(heat, blurred, x, y)
    return points


def _refined(heat: np.ndarray, blurred: np.ndarray, x: int, y: int) -> tuple[float, float, float]:
    row, column = blurred[y], blurred[:, x]
    return x + 0.5 + _vertex(row, x), y + 0.5 + _vertex(column, y), float(np.clip(heat[y, x], 0, 1))


def _vertex(line: np.ndarray, i: int) -> float:
    """Where between -0.5 and 0.5 from i the parabola through i and its neighbours is highest."""
    if not 0 < i < len(line) - 1:
        return 0.0
    before, here, after = line[i - 1 : i + 2].astype(float)
    curvature = before - 2 * here + after
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0
