"""Drop outliers of a detector and fill short gaps."""

from dataclasses import dataclass

import numpy as np

from .keypoints import SLICES

# The confidence of a filled point, relative to the lower confidence of its two ends.
FILLED_CONFIDENCE = 0.5
# A point farther than this, in person sizes, from the median of the five frames around it is an outlier, unless these
# are spread out themselves: a fast gesture at a low frame rate.
OUTLIER_DISTANCE, OUTLIER_SPREADS = 0.12, 1.5
_HALF_WINDOW = 2

# The body points relative to which hands, face and feet are filled.
_LEFT_WRIST, _RIGHT_WRIST, _NOSE, _LEFT_ANKLE, _RIGHT_ANKLE = 7, 4, 0, 13, 10


def _anchors() -> np.ndarray:
    anchors = np.full(SLICES["feet"].stop, -1)
    anchors[SLICES["left_hand"]] = _LEFT_WRIST
    anchors[SLICES["right_hand"]] = _RIGHT_WRIST
    anchors[SLICES["face"]] = _NOSE
    feet = SLICES["feet"].start
    anchors[feet : feet + 3], anchors[feet + 3 : feet + 6] = _LEFT_ANKLE, _RIGHT_ANKLE
    return anchors


_ANCHORS = _anchors()


@dataclass(frozen=True)
class Repaired:
    """The result of `repair`.

    points: float32 [F, 136, 3]. dropped, filled: bool [F, 136], outliers and interpolated points; an outlier that was
    replaced is in both.
    """

    points: np.ndarray
    dropped: np.ndarray
    filled: np.ndarray


def repair(points: np.ndarray, max_gap: int = 15) -> Repaired:
    """Drop outliers of one person through time and fill gaps of up to `max_gap` frames.

    points: [F, 136, 3] in the order of keypoints.SLICES. Body points are interpolated linearly in time; hand, face and
    foot points relative to wrist, nose and ankle, so that they move with them. Nothing is added before the first or
    after the last frame in which a point is visible. A filled point has FILLED_CONFIDENCE times the lower confidence of
    its two ends.
    """
    points = np.array(points, np.float32)
    dropped = _find_outliers(points)
    points[dropped] = 0
    filled = np.zeros(dropped.shape, bool)
    for j, anchor in enumerate(_ANCHORS):  # body points come first: the others are filled relative to them
        base = 0 if anchor < 0 else _interpolate(points[:, anchor])
        filled[:, j] = _fill(points[:, j], base, max_gap)
    return Repaired(points, dropped, filled)


def count_parts(found: np.ndarray, repaired: Repaired) -> dict[str, dict[str, int]]:
    """Return for each part how many keypoints of all frames were found (and kept), filled and lost (neither).

    found: the points [F, 136, 3] before the repair.
    """
    kept = (found[..., 2] > 0) & ~repaired.dropped
    counts = {}
    for part, part_slice in SLICES.items():
        number, filled = int(kept[:, part_slice].sum()), int(repaired.filled[:, part_slice].sum())
        total = len(found) * (part_slice.stop - part_slice.start)
        counts[part] = {"found": number, "filled": filled, "lost": total - number - filled}
    return counts


def typical_size(points: np.ndarray) -> float:
    """Return the median over frames of the longer side of the box around the body, in pixels; 0 without a body."""
    body = points[:, SLICES["body"]]
    sizes = [np.ptp(row[row[:, 2] > 0, :2], axis=0).max() for row in body if np.count_nonzero(row[:, 2]) > 1]
    return float(np.median(sizes)) if sizes else 0.0


def _find_outliers(points: np.ndarray) -> np.ndarray:
    limit = OUTLIER_DISTANCE * typical_size(points)
    found = points[..., 2] > 0
    dropped = np.zeros(found.shape, bool)
    if limit == 0:
        return dropped
    for j in range(points.shape[1]):
        visible = np.flatnonzero(found[:, j])
        if len(visible) <= _HALF_WINDOW:
            continue
        track = np.full((len(points) + 2 * _HALF_WINDOW, 2), np.nan)
        track[visible + _HALF_WINDOW] = points[visible, j, :2]
        around = np.lib.stride_tricks.sliding_window_view(track, 2 * _HALF_WINDOW + 1, axis=0)[visible]
        distances = np.linalg.norm(around - np.nanmedian(around, axis=-1)[..., None], axis=1)
        distance, spread = distances[:, _HALF_WINDOW], np.nanmedian(distances, axis=-1)
        known = np.isfinite(distances)
        enough = known.sum(axis=-1) > _HALF_WINDOW  # on both sides: at an end an outlier looks like a gesture
        enough &= known[:, :_HALF_WINDOW].any(axis=-1) & known[:, _HALF_WINDOW + 1 :].any(axis=-1)
        dropped[visible, j] = enough & (distance > limit) & (distance > OUTLIER_SPREADS * spread)
    return dropped


def _interpolate(track: np.ndarray) -> np.ndarray:
    """Return positions [F, 2] of a point [F, 3], interpolated where it is missing; zeros if it never is visible."""
    visible = np.flatnonzero(track[:, 2] > 0)
    if not len(visible):
        return np.zeros((len(track), 2))
    frames = np.arange(len(track))
    return np.stack([np.interp(frames, visible, track[visible, axis]) for axis in (0, 1)], axis=1)


def _fill(track: np.ndarray, base: np.ndarray | int, max_gap: int) -> np.ndarray:
    """Fill the gaps of a point [F, 3] in place and return which frames were filled, bool [F]."""
    visible = np.flatnonzero(track[:, 2] > 0)
    filled = np.zeros(len(track), bool)
    missing = np.diff(visible) - 1
    for k in np.flatnonzero((missing > 0) & (missing <= max_gap)):
        filled[visible[k] + 1 : visible[k + 1]] = True
    if filled.any():
        relative = track.astype(np.float64)
        relative[:, :2] -= base
        track[filled, :2] = (_interpolate(relative) + base)[filled]
        before, after = (visible[np.searchsorted(visible, np.flatnonzero(filled)) + k] for k in (-1, 0))
        track[filled, 2] = FILLED_CONFIDENCE * np.minimum(track[before, 2], track[after, 2])
    return filled
