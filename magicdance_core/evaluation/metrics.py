"""How far a picture is from the truth. Pictures are float arrays [H, W, C], [0, 1], of one size."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import InputError

# Differences below this (a single 8-bit step in a picture of 500,000 values) count as none, so that means stay finite.
MIN_SQUARED_ERROR = 1e-10
WINDOW = 7
# Largest change of a channel from frame to frame, in [0, 1], at which a pixel stands still. Compression changes pixels
# of a video where nothing moves; drawings are exact. Between the two limits for drawings a pixel counts as neither.
STILL_IN_VIDEO = 5.5 / 255
STILL_IN_DRAWING, MOVING_IN_DRAWING = 2 / 255, 4 / 255


def to_float(picture) -> np.ndarray:
    """A PIL picture or uint8 array as float64 in [0, 1]."""
    return np.asarray(picture, dtype=np.float64) / 255


def psnr(image: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all values, at most 100 dB.

    where: bool [H, W], the pixels that count; all by default. NaN where none counts.
    The published evaluation subtracts and squares in uint8, whose overflow makes its figures too high; this one is in
    floating point; see `published_psnr`.
    """
    squared = (image - truth) ** 2
    if where is not None:
        squared = squared[where]
    if squared.size == 0:
        return float("nan")
    return float(-10 * np.log10(max(squared.mean(), MIN_SQUARED_ERROR)))


def published_psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """The published evaluation's PSNR of uint8 pictures, dB: difference and square wrap around at 256; 100 where equal.

    Its figures are too high by any amount, and not comparable with anybody else's.
    """
    wrapped = ((truth - image) ** 2).mean()
    return float(20 * np.log10(255 / np.sqrt(wrapped))) if wrapped else 100.0


def ssim(image: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity, at most 1, mean over channels and over the windows that lie within the picture.

    Uniform 7 x 7 windows, sample covariance, K1 0.01, K2 0.03: scikit-image's defaults. Source: Wang et al., "Image
    quality assessment: from error visibility to structural similarity" (2004).
    Raises InputError for pictures smaller than a window.
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
    """Mean absolute difference, in [0, 1]."""
    return float(np.abs(image - truth).mean())


def published_l1(image: np.ndarray, truth: np.ndarray) -> float:
    """The published evaluation's L1: the mean absolute difference in 0..255, divided by the number of pixels again.

    It falls with the resolution, so it compares only between pictures of one size.
    """
    return l1(image, truth) * 255 / (image.shape[0] * image.shape[1])


def flicker(
    image: np.ndarray, previous: np.ndarray, truth: np.ndarray, previous_truth: np.ndarray
) -> tuple[float, float]:
    """How wrongly a picture changes from the previous one: mean absolute error of the change, in [0, 1].

    First over the pixels that stand still in truth, where any change is flicker (no channel changes by more than
    STILL_IN_VIDEO), then over those that move. NaN where there are none.
    """
    true_change = truth - previous_truth
    error = np.abs((image - previous) - true_change).mean(axis=-1)
    still = np.abs(true_change).max(axis=-1) <= STILL_IN_VIDEO
    return tuple(float(error[part].mean()) if part.any() else float("nan") for part in (still, ~still))


def grey(picture: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] to the rounded grey levels on which the published SSIM is computed: float64 [H, W, 1], [0, 1]."""
    return to_float(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[..., None]
