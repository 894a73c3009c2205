"""Detector hiccups out, short gaps filled; what was filled is marked and counted."""

from dataclasses import dataclass

import numpy as np

from .keypoints import SLICES

# A filled point is believed this much less than the less certain of the two that it lies between.
FILLED_CONFIDENCE = 0.5
# A point farther than this, in person sizes, from the median of the five frames around it is a hiccup, unless the five
# are spread out themselves: a fast gesture in few frames a second.
HICCUP, HICCUP_SPREADS = 0.12, 1.5
_HALF_WINDOW = 2

# Where a part is carried: the body point that its own are filled relative to.
_LEFT_WRIST, _RIGHT_WRIST, _NOSE, _LEFT_ANKLE, _RIGHT_ANKLE = 7, 4, 0, 13, 10


def _carriers() -> np.ndarray:
    carriers = np.full(SLICES["feet"].stop, -1)
    carriers[SLICES["left_hand"]] = _LEFT_WRIST
    carriers[SLICES["right_hand"]] = _RIGHT_WRIST
    carriers[SLICES["face"]] = _NOSE
    feet = SLICES["feet"].start
    carriers[feet : feet + 3], carriers[feet + 3 : feet + 6] = _LEFT_ANKLE, _RIGHT_ANKLE
    return carriers


_CARRIERS = _carriers()


@dataclass(frozen=True)
class Repaired:
    """points: float32 [F, 136, 3]. dropped, filled: bool [F, 136], what was taken for a hiccup and what was added; a
    dropped point that could be filled is in both."""

    points: np.ndarray
    dropped: np.ndarray
    filled: np.ndarray


def repair(points: np.ndarray, max_gap: int = 15) -> Repaired:
    """Drop hiccups of one person through time and fill gaps of up to `max_gap` frames.

    points: [F, 136, 3], see sequence.SLICES. Body points are interpolated linearly in time; hand, face and foot points
    relative to wrist, nose and ankle, so that they go with them. Nothing is added before the first or after the last
    frame in which a point was seen. A filled point has FILLED_CONFIDENCE times the lower confidence of its two ends.
    """
    points = np.array(points, np.float32)
    dropped = _hiccups(points)
    points[dropped] = 0
    filled = np.zeros(dropped.shape, bool)
    for j, carrier in enumerate(_CARRIERS):  # the body comes first, so that the others find it whole
        base = 0 if carrier < 0 else _path(points[:, carrier])
        filled[:, j] = _fill(points[:, j], base, max_gap)
    return Repaired(points, dropped, filled)


def count_parts(found: np.ndarray, repaired: Repaired) -> dict[str, dict[str, int]]:
    """For each part how many keypoints, of all frames, were found (and kept), filled and lost (neither).

    found: the points [F, 136, 3] before the repair.
    """
    kept = (found[..., 2] > 0) & ~repaired.dropped
    counts = {}
    for part, where in SLICES.items():
        number, filled = int(kept[:, where].sum()), int(repaired.filled[:, where].sum())
        total = len(found) * (where.stop - where.start)
        counts[part] = {"found": number, "filled": filled, "lost": total - number - filled}
    return counts


def typical_size(points: np.ndarray) -> float:
    """The median over the frames of the longer side of the box around the body, in pixels; 0 without a body."""
    body = points[:, SLICES["body"]]
    sizes = [np.ptp(row[row[:, 2] > 0, :2], axis=0).max() for row in body if np.count_nonzero(row[:, 2]) > 1]
    return float(np.median(sizes)) if sizes else 0.0


def _hiccups(points: np.ndarray) -> np.ndarray:
    limit = HICCUP * typical_size(points)
    found = points[..., 2] > 0
    dropped = np.zeros(found.shape, bool)
    if limit == 0:
        return dropped
    for j in range(points.shape[1]):
        seen = np.flatnonzero(found[:, j])
        if len(seen) <= _HALF_WINDOW:
            continue
        track = np.full((len(points) + 2 * _HALF_WINDOW, 2), np.nan)
        track[seen + _HALF_WINDOW] = points[seen, j, :2]
        around = np.lib.stride_tricks.sliding_window_view(track, 2 * _HALF_WINDOW + 1, axis=0)[seen]
        distances = np.linalg.norm(around - np.nanmedian(around, axis=-1)[..., None], axis=1)
        here, spread = distances[:, _HALF_WINDOW], np.nanmedian(distances, axis=-1)
        known = np.isfinite(distances)
        enough = known.sum(axis=-1) > _HALF_WINDOW  # and on both sides: at an end nothing tells a hiccup from a gesture
        enough &= known[:, :_HALF_WINDOW].any(axis=-1) & known[:, _HALF_WINDOW + 1 :].any(axis=-1)
        dropped[seen, j] = enough & (here > limit) & (here > HICCUP_SPREADS * spread)
    return dropped


def _path(track: np.ndarray) -> np.ndarray:
    """Positions [F, 2] of a point [F, 3], interpolated where it is missing; zeros where it never was seen."""
    seen = np.flatnonzero(track[:, 2] > 0)
    if not len(seen):
        return np.zeros((len(track), 2))
    frames = np.arange(len(track))
    return np.stack([np.interp(frames, seen, track[seen, axis]) for axis in (0, 1)], axis=1)


def _fill(track: np.ndarray, base: np.ndarray | int, max_gap: int) -> np.ndarray:
    """Fill the gaps of a point [F, 3] in place; returns which frames were."""
    seen = np.flatnonzero(track[:, 2] > 0)
    filled = np.zeros(len(track), bool)
    missing = np.diff(seen) - 1
    for k in np.flatnonzero((missing > 0) & (missing <= max_gap)):
        filled[seen[k] + 1 : seen[k + 1]] = True
    if filled.any():
        relative = track.astype(np.float64)
        relative[:, :2] -= base
        track[filled, :2] = (_path(relative) + base)[filled]
        before, after = (seen[np.searchsorted(seen, np.flatnonzero(filled)) + k] for k in (-1, 0))
        track[filled, 2] = FILLED_CONFIDENCE * np.minimum(track[before, 2], track[after, 2])
    return filled
