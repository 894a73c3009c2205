"""Turned squares of a picture: cut out for a network, and its points mapped back.

Coordinates are pixels of the picture from its top left corner, so the first pixel's centre is (0.5, 0.5); y goes down.
Angles are in radians; 0 is upright, and a positive angle turns the square's right side down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

MIN_SIDE = 8  # pixels
MAX_SIDES = 10  # longest sides of the picture
SHRINK_FROM = 1.5  # pixels of the picture in a pixel of the crop
UP, RIGHT = math.pi / 2, 0.0  # directions in a region, for `turn`


@dataclass(frozen=True)
class Region:
    """A square with centre x, y and side in pixels, turned by an angle."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def usable(self, width: int, height: int) -> bool:
        """Return whether the square is finite and neither tiny nor huge for a picture of width x height pixels."""
        finite = all(map(math.isfinite, (self.x, self.y, self.side, self.angle)))
        longer = max(width, height)
        near = finite and max(abs(self.x), abs(self.y)) <= MAX_SIDES * longer
        return near and MIN_SIDE <= self.side <= MAX_SIDES * longer

    def crop(self, picture: np.ndarray, size: int, repeat_border: bool) -> np.ndarray:
        """Return the square of a picture, uint8 [H, W, 3], as size x size pixels.

        repeat_border: outside the picture its edge pixels are repeated, else there is black.
        """
        height, width = picture.shape[:2]
        ratio = self.side / size
        if ratio > SHRINK_FROM:
            shrunk = max(1, round(width / ratio)), max(1, round(height / ratio))
            picture = cv2.resize(picture, shrunk, interpolation=cv2.INTER_AREA)
        scales = np.array([picture.shape[1] / width, picture.shape[0] / height])
        linear = ratio * rotation(self.angle) * scales[:, None]
        offset = np.array([self.x, self.y]) * scales + linear @ np.full(2, (1 - size) / 2)
        warp = np.concatenate([linear, offset[:, None] - 0.5], axis=1)  # OpenCV counts from pixel centres
        border = cv2.BORDER_REPLICATE if repeat_border else cv2.BORDER_CONSTANT
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, warp, (size, size), flags=flags, borderMode=border)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Return points [..., 2] of the square, in [0, 1], in pixels of the picture."""
        return np.array([self.x, self.y]) + self.side * (np.asarray(points) - 0.5) @ rotation(self.angle).T


def rotation(angle: float) -> np.ndarray:
    """Return the matrix [2, 2] that takes directions of a region to directions of the picture."""
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def turn(a: np.ndarray, b: np.ndarray, direction: float) -> float:
    """Return the angle in [-pi, pi) of the region in which b lies in a direction (UP, RIGHT) from a."""
    angle = direction - math.atan2(-(b[1] - a[1]), b[0] - a[0])
    return (angle + math.pi) % (2 * math.pi) - math.pi


def region_around(points: np.ndarray, angle: float, scale: float, shift: float = 0.0) -> Region:
    """Return a square around points [N, 2]: the smallest box at an angle, made square and larger, and shifted.

    scale: of the box's longer side. shift: in heights of the box, towards the square's bottom.
    """
    turned = points @ rotation(angle)
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre = rotation(angle) @ ((low + high) / 2)
    return grown(centre, high - low, angle, scale, shift)


def grown(centre: np.ndarray, size: np.ndarray, angle: float, scale: float, shift: float) -> Region:
    """Return a square around a turned box of a size (width, height): see `region_around`."""
    width, height = size
    x = centre[0] - shift * height * math.sin(angle)
    y = centre[1] + shift * height * math.cos(angle)
    return Region(float(x), float(y), float(scale * max(width, height)), angle)


def whole_picture(width: int, height: int) -> Region:
    """Return the smallest upright square around a picture."""
    return Region(width / 2, height / 2, float(max(width, height)))
