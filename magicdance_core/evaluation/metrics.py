"""Distances of pictures from their truth. Pictures are float arrays [H, W, C] in [0, 1], of one size."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ..errors import InputError

MIN_SQUARED_ERROR = 1e-10  # keeps PSNR finite; less than one 8-bit step in 150,000 values
WINDOW = 7
SEAM = 0.01  # least weight of both sides in a seam
# Largest change of a channel from frame to frame, in [0, 1], at which a pixel stands still. Compression changes pixels
# of a video where nothing moves; drawings are exact. Between the two limits for drawings a pixel counts as neither.
STILL_IN_VIDEO = 5.5 / 255
STILL_IN_DRAWING, MOVING_IN_DRAWING = 2 / 255, 4 / 255


def to_float(picture) -> np.ndarray:
    """Return a PIL picture or uint8 array as float64 in [0, 1]."""
    return np.asarray(picture, dtype=np.float64) / 255


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB over all values, at most 100.

    where: bool [H, W], the pixels that count; all by default. NaN if none counts.
    """
    squared = (image - truth) ** 2
    if where is not None:
        squared = squared[where]
    if squared.size == 0:
        return float("nan")
    return float(-10 * np.log10(max(squared.mean(), MIN_SQUARED_ERROR)))


def border(image: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Return how much the seam of a blended part shows: the error's gradient in it, divided by its neighbourhood's.

    weight: float [H, W], of the part; the seam is where it is between 0 and 1, the neighbourhood what is as near to the
    seam as the seam is wide, on both sides. 1: no seam can be seen. NaN without a seam or neighbourhood.
    """
    error = image - truth
    gradient = np.zeros(error.shape[:2])
    gradient[:, 1:] += np.abs(np.diff(error, axis=1)).mean(-1)
    gradient[1:] += np.abs(np.diff(error, axis=0)).mean(-1)
    seam = (weight > SEAM) & (weight < 1 - SEAM)
    inside, outside = (cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (seam, ~seam))
    beside = ~seam & (outside <= 2 * inside.max())
    if not seam.any() or not beside.any():
        return float("nan")
    return float(gradient[seam].mean() / gradient[beside].mean())


def published_psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the PSNR of uint8 pictures in dB as the published evaluation computes it; 100 if they are equal.

    Difference and square overflow at 256, so that figures are too high and compare with no others.
    """
    wrapped = ((truth - image) ** 2).mean()
    return float(20 * np.log10(255 / np.sqrt(wrapped))) if wrapped else 100.0


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the structural similarity, at most 1: the mean over channels and over windows within the picture.

    Uniform 7 x 7 windows, sample covariance, K1 0.01, K2 0.03: scikit-image's defaults. Source: Wang et al., "Image
    quality assessment: from error visibility to structural similarity" (2004).
    Raises InputError if the pictures are smaller than a window.
    """
    if min(image.shape[:2]) < WINDOW:
        raise InputError(f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels; give larger ones.")
    sample = WINDOW**2 / (WINDOW**2 - 1)
    c1, c2 = 0.01**2, 0.03**2

    def mean(values: np.ndarray) -> np.ndarray:
        margin = WINDOW // 2
        return cv2.blur(values, (WINDOW, WINDOW))[margin:-margin, margin:-margin]

    mean_x, mean_y = mean(image), mean(truth)
    variance_x = sample * (mean(image * image) - mean_x**2)
    variance_y = sample * (mean(truth * truth) - mean_y**2)
    covariance = sample * (mean(image * truth) - mean_x * mean_y)
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    return float(similarity.mean())


def l1(image: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean absolute difference, in [0, 1]."""
    return float(np.abs(image - truth).mean())


def published_l1(image: np.ndarray, truth: np.ndarray) -> float:
    """Return L1 as published: the mean absolute difference in 0..255, divided by the number of pixels once more.

    It falls with the resolution, so that it compares only pictures of one size.
    """
    return l1(image, truth) * 255 / (image.shape[0] * image.shape[1])


def flicker(
    image: np.ndarray, previous: np.ndarray, truth: np.ndarray, previous_truth: np.ndarray
) -> tuple[float, float]:
    """Return the mean absolute error of the change from the previous frame, in [0, 1]: (of still, of moving pixels).

    Pixels are still if no channel of the truth changes by more than STILL_IN_VIDEO. NaN if there are none.
    """
    true_change = truth - previous_truth
    error = np.abs((image - previous) - true_change).mean(axis=-1)
    still = np.abs(true_change).max(axis=-1) <= STILL_IN_VIDEO
    of_still, of_moving = (float(error[part].mean()) if part.any() else float("nan") for part in (still, ~still))
    return of_still, of_moving


def grey(picture: np.ndarray) -> np.ndarray:
    """Convert uint8 [H, W, 3] to rounded grey levels, float64 [H, W, 1] in [0, 1], as the published SSIM takes them."""
    return to_float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[..., None]


def difference(made: Image.Image, true: Image.Image, factor: float = 3) -> Image.Image:
    """Return the absolute difference of two RGB pictures of one size, multiplied by `factor`; equal parts are black."""
    values = np.abs(np.asarray(made, np.int16) - np.asarray(true, np.int16)) * factor
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
