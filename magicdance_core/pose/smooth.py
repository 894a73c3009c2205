"""Less jitter in keypoints through time, with fast gestures kept."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..choices import SMOOTHING_METHODS
from ..errors import InputError
from .filling import typical_size
from .keypoints import SLICES, PoseFrame, apply_per_person

JOINTS_AT_ONCE = 8  # the filter takes many times the memory of what it filters
# One-Euro's cut-off frequency of the speed, as its authors set it.
SPEED_CUTOFF = 1.0


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
    """The frames with each person's points smoothed in time, each on its own; missing points stay missing.

    method: "savitzky-golay" looks both ways and does not lag; window, odd number of frames, and order of the
    polynomial. "one-euro" looks back only; min_cutoff in Hz for a point at rest, beta in Hz for each person size a
    second of its speed (more of either: less lag, more jitter); fps is what these count time by.
    A point moves a filter in proportion to its confidence, relative to the part's most certain point in the clip.
    Identities follow people through frames; without, people have to keep their place in the list.
    Raises InputError where a number is out of range or frames differ in size.
    """
    if method == "savitzky-golay":
        if window % 2 == 0 or not 0 <= order < window:
            raise InputError(f"A window of {window} with order {order} cannot be fitted; give an odd window above it.")

        def change(points: np.ndarray) -> np.ndarray:
            return savitzky_golay(points, window, order)
    elif method == "one-euro":
        if not (fps > 0 and min_cutoff > 0 and beta >= 0):
            raise InputError("One-Euro needs a positive rate and cut-off and a beta that is not negative; change them.")

        def change(points: np.ndarray) -> np.ndarray:
            return one_euro(points, fps, min_cutoff, beta / (typical_size(points) or 1.0))
    else:
        raise InputError(f"{method!r} is no way to smooth; choose one of {', '.join(SMOOTHING_METHODS)}.")
    return apply_per_person(frames, change)


def one_euro(points: np.ndarray, fps: float, min_cutoff: float, beta: float) -> np.ndarray:
    """The One-Euro filter over points [F, J, 3]: a low pass whose cut-off grows with the filtered speed.

    beta: Hz for each pixel a second. A point that was missing starts anew.
    Source: Casiez, Roussel, Vogel, CHI 2012, equations 1 to 6; the smoothing factor is multiplied by the weight.
    """
    out = np.array(points, np.float32)
    weights = _weights(out)
    speed_factor = _factor(np.float64(SPEED_CUTOFF), fps)
    position = np.zeros((out.shape[1], 2))
    speed = np.zeros_like(position)
    was_here = np.zeros(out.shape[1], bool)
    for row, weight in zip(out, weights):
        here = weight > 0
        new = here & ~was_here
        position[new], speed[new] = row[new, :2], 0
        old = here & was_here
        speed[old] += speed_factor * weight[old, None] * ((row[old, :2] - position[old]) * fps - speed[old])
        factor = _factor(min_cutoff + beta * np.linalg.norm(speed[old], axis=1), fps)
        position[old] += (factor * weight[old])[:, None] * (row[old, :2] - position[old])
        row[here, :2] = position[here]
        was_here = here
    return out


def savitzky_golay(points: np.ndarray, window: int, order: int) -> np.ndarray:
    """Savitzky-Golay smoothing of points [F, J, 3]: a polynomial of `order` fitted around each frame (SciPy).

    Each run of frames without a gap is smoothed on its own, with a smaller window where it is shorter. A doubtful
    point is first moved towards the curve through all of them, in proportion to its missing weight.
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
        trust = weights[run, joints, None]
        if trust.min() < 1:
            track = trust * track + (1 - trust) * savgol_filter(track, size, order, axis=0)
        out[run, joints, :2] = savgol_filter(track, size, order, axis=0)
    return out


def _weights(points: np.ndarray) -> np.ndarray:
    """Confidences [F, J] in units of the highest of their part."""
    confidence = points[..., 2].astype(np.float64)
    for where in SLICES.values():
        highest = confidence[:, where].max(initial=0)
        if highest > 0:
            confidence[:, where] /= highest
    return confidence


def _factor(cutoff: np.ndarray, fps: float) -> np.ndarray:
    """How far a first-order low pass goes towards its input in one frame."""
    return 1 / (1 + fps / (2 * math.pi * cutoff))


def _runs(here: np.ndarray) -> Iterator[tuple[np.ndarray, slice]]:
    """Joints that come and go together, a few at once, and each run of frames [start, stop) in which they are there."""
    patterns, group = np.unique(here, axis=1, return_inverse=True)
    for k, pattern in enumerate(patterns.T):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], pattern.astype(np.int8), [0]])))
        joints = np.flatnonzero(group.reshape(-1) == k)
        for start, stop in edges.reshape(-1, 2).tolist():
            for first in range(0, len(joints), JOINTS_AT_ONCE):
                yield joints[first : first + JOINTS_AT_ONCE], slice(start, stop)
