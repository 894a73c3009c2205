"""Smooth keypoints through time: less jitter, fast gestures preserved."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..choices import SMOOTHING_METHODS
from ..errors import InputError
from .filling import typical_size
from .keypoints import SLICES, PoseFrame, apply_per_person

JOINTS_AT_ONCE = 8  # the filter needs many times the memory of its input
# Cut-off frequency of the speed in the One-Euro filter in Hz, as in its paper.
SPEED_CUTOFF = 1.0
LEAST_WEIGHT = 0.01  # of a point, relative to the best of its part, so that fits stay well-conditioned


def smooth(
    frames: Sequence[PoseFrame],
    method: str = "savitzky-golay",
    *,
    fps: float = 30.0,
    window: int = 7,
    order: int = 2,
    min_cutoff: float = 1.5,
    beta: float = 30.0,
) -> list[PoseFrame]:
    """Return the frames with each keypoint of each person smoothed in time; missing points stay missing.

    method: "savitzky-golay" uses past and future frames and has no lag; window (an odd number of frames) and order (of
    the polynomial) are its parameters. "one-euro" uses past frames only; min_cutoff is the cut-off in Hz of a point at
    rest, beta its increase in Hz per person size per second of speed (more of either: less lag, more jitter), and fps
    the frame rate.
    A point is weighted by its confidence relative to the highest of its part in the clip.
    People are matched across frames by identity, or by their position in the list if they have none.
    Raises InputError if the method is unknown, a number is out of range or frames differ in size.
    """
    if method == "savitzky-golay":
        if window % 2 == 0 or not 0 <= order < window:
            raise InputError(
                f"The window is {window} and the order {order}: give an odd window greater than the order."
            )

        def filter_points(points: np.ndarray) -> np.ndarray:
            return savitzky_golay(points, window, order)
    elif method == "one-euro":
        if not (fps > 0 and min_cutoff > 0 and beta >= 0):
            raise InputError(
                f"fps is {fps}, min_cutoff {min_cutoff} and beta {beta}: give positive numbers; beta may be 0."
            )

        def filter_points(points: np.ndarray) -> np.ndarray:
            return one_euro(points, fps, min_cutoff, beta / (typical_size(points) or 1.0))
    else:
        raise InputError(f"The smoothing method {method!r} is unknown: choose one of {', '.join(SMOOTHING_METHODS)}.")
    return apply_per_person(frames, filter_points)


def one_euro(points: np.ndarray, fps: float, min_cutoff: float, beta: float) -> np.ndarray:
    """Apply the One-Euro filter to points [F, J, 3]: a low pass whose cut-off grows with the filtered speed.

    beta: in Hz per pixel per second. The filter restarts after a missing point.
    Source: Casiez, Roussel, Vogel, CHI 2012, equations 1 to 6; the smoothing factor is multiplied by the weight.
    """
    out = np.array(points, np.float32)
    weights = _weights(out)
    speed_factor = _smoothing_factor(np.float64(SPEED_CUTOFF), fps)
    position = np.zeros((out.shape[1], 2))
    speed = np.zeros_like(position)
    was_visible = np.zeros(out.shape[1], bool)
    for row, weight in zip(out, weights):
        visible = weight > 0
        new = visible & ~was_visible
        position[new], speed[new] = row[new, :2], 0
        old = visible & was_visible
        speed[old] += speed_factor * weight[old, None] * ((row[old, :2] - position[old]) * fps - speed[old])
        factor = _smoothing_factor(min_cutoff + beta * np.linalg.norm(speed[old], axis=1), fps)
        position[old] += (factor * weight[old])[:, None] * (row[old, :2] - position[old])
        row[visible, :2] = position[visible]
        was_visible = visible
    return out


def savitzky_golay(points: np.ndarray, window: int, order: int) -> np.ndarray:
    """Apply the Savitzky-Golay filter to points [F, J, 3]: a polynomial of `order` fitted around each frame.

    Runs of frames without a gap are smoothed separately, with a smaller window if they are shorter. Deviations count by
    weight, so that a jump at a low score does not pull the curve; with equal weights it is SciPy's filter.
    """
    from scipy.signal import savgol_filter

    out = np.array(points, np.float32)
    weights = _weights(out)
    for joints, run in _runs(weights > 0):
        length = run.stop - run.start
        size = min(window, length if length % 2 else length - 1)
        if size <= order:
            continue
        track = out[run, joints, :2].astype(np.float64)
        trust = weights[run, joints]
        if trust.min() < 1:
            out[run, joints, :2] = _weighted_fit(track, trust, size, order)
        else:
            out[run, joints, :2] = savgol_filter(track, size, order, axis=0)
    return out


def _weighted_fit(track: np.ndarray, weights: np.ndarray, size: int, order: int) -> np.ndarray:
    """Return at each frame the value of the polynomial that fits the window of `size` frames around it best.

    track: [F, J, 2]. weights: [F, J], of the deviations. At the ends the first and last windows are used.
    """
    frames = np.arange(len(track))
    first = np.clip(frames - size // 2, 0, len(track) - size)
    window = first[:, None] + np.arange(size)  # [F, size]
    powers = ((window - frames[:, None]) * (2 / size))[..., None] ** np.arange(order + 1)  # [F, size, order + 1]
    weighted = np.maximum(weights, LEAST_WEIGHT)[window] ** 2  # [F, size, J]
    normal = np.einsum("fwj,fwa,fwb->fjab", weighted, powers, powers)
    right = np.einsum("fwj,fwa,fwjc->fjac", weighted, powers, track[window])
    return np.linalg.solve(normal, right)[:, :, 0]


def _weights(points: np.ndarray) -> np.ndarray:
    """Return confidences [F, J] relative to the highest of their part."""
    confidence = points[..., 2].astype(np.float64)
    for part_slice in SLICES.values():
        highest = confidence[:, part_slice].max(initial=0)
        if highest > 0:
            confidence[:, part_slice] /= highest
    return confidence


def _smoothing_factor(cutoff: np.ndarray, fps: float) -> np.ndarray:
    """Return the smoothing factor of a first-order low pass: the share of the input in one frame."""
    return 1 / (1 + fps / (2 * math.pi * cutoff))


def _runs(visible: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Yield joints that are visible in the same frames, a few at a time, and each run of such frames."""
    patterns, group = np.unique(visible, axis=1, return_inverse=True)
    for k, pattern in enumerate(patterns.T):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pattern.astype(np.int8), [0]])))
        joints = np.flatnonzero(group.reshape(-1) == k)
        for start, stop in edges.reshape(-1, 2).tolist():
            for first in range(0, len(joints), JOINTS_AT_ONCE):
                yield joints[first : first + JOINTS_AT_ONCE], slice(start, stop)
