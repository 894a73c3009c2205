"""Measure the lengths of a person's limbs in frames, and compare those of two people."""

from dataclasses import dataclass

import numpy as np

from .keypoints import POINTS, SLICES

NOSE, NECK = 0, 1
SHOULDERS, ELBOWS, WRISTS = (2, 5), (3, 6), (4, 7)
HIPS, KNEES, ANKLES = (8, 11), (9, 12), (10, 13)
EYES, EARS = (14, 15), (16, 17)
MIDDLE_HIP = POINTS  # index in points with the middle of the hips appended

_FACE, _HANDS = SLICES["face"].start, (SLICES["right_hand"].start, SLICES["left_hand"].start)

# Pairs of points whose distance is a length. Of the two sides the longer counts: the other one is foreshortened.
LENGTHS: dict[str, tuple[tuple[int, int], ...]] = {
    "torso": ((NECK, MIDDLE_HIP),),
    "shoulders": tuple((NECK, s) for s in SHOULDERS),
    "hips": tuple((MIDDLE_HIP, h) for h in HIPS),
    "upper arm": tuple(zip(SHOULDERS, ELBOWS)),
    "lower arm": tuple(zip(ELBOWS, WRISTS)),
    "thigh": tuple(zip(HIPS, KNEES)),
    "shin": tuple(zip(KNEES, ANKLES)),
    "neck": ((NECK, NOSE),),
    "head width": (EARS, EYES, (_FACE, _FACE + 16), (_FACE + 36, _FACE + 45)),
    "head height": ((_FACE + 8, _FACE + 27), (_FACE + 33, _FACE + 27), (NOSE, EYES[0]), (NOSE, EYES[1])),
    "hand": tuple((h, h + k) for h in _HANDS for k in (5, 9, 13, 17)),
}
# The quantile of a length's values over a clip that is taken: near the longest for limbs, which look shorter when they
# point at the viewer; the median for trunk and head, which look shorter or longer in a bend or nod.
LIMB_QUANTILE, TRUNK_QUANTILE = 0.9, 0.5
_TRUNK = ("torso", "neck", "head width", "head height")
_MINIMUM_PIXELS = 1.0


def with_middle_hip(points: np.ndarray) -> np.ndarray:
    """Return points [F, 136, 3] with the middle of the hips appended: float32 [F, 137, 3]."""
    points = np.asarray(points, np.float32)
    right, left = points[:, HIPS[0]], points[:, HIPS[1]]
    middle = np.concatenate([(right[:, :2] + left[:, :2]) / 2, np.minimum(right[:, 2:], left[:, 2:])], axis=1)
    return np.concatenate([points, np.where(middle[:, 2:] > 0, middle, 0)[:, None]], axis=1)


def measure(points: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Return the lengths in pixels of a person in frames [F, 137, 3], one value per pair; NaN if unknown."""
    lengths = {}
    for name, pairs in LENGTHS.items():
        quantile = TRUNK_QUANTILE if name in _TRUNK else LIMB_QUANTILE
        lengths[name] = tuple(_length(points[:, a], points[:, b], quantile) for a, b in pairs)
    return lengths


@dataclass(frozen=True)
class Ratios:
    """Ratios of the target's lengths to the driver's, and `scale`, that of the whole person."""

    scale: float
    lengths: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.lengths[name]


def compare(driver: dict, target: dict, trust: float, neck_trust: float) -> Ratios:
    """Return the ratios of two people's `measure`.

    The scale is the length-weighted mean over the known ratios of torso, thigh and shin, else of head and shoulders,
    else of anything; 1 if no length is known of both. Each ratio is that of the longer sides, moved towards the scale
    by 1 - trust (of the logarithm), as lengths in a single picture are foreshortened; `neck_trust` is the same for the
    neck, whose length changes with every nod. Lengths unknown of either person get the scale.
    """
    raw = {name: _ratio(driver[name], target[name]) for name in LENGTHS}
    scale = 1.0
    for names in (("torso", "thigh", "shin"), ("head width", "head height", "shoulders"), tuple(LENGTHS)):
        weights = {n: np.nanmax(driver[n]) for n in names if np.isfinite(raw[n])}
        if weights:
            scale = float(sum(raw[n] * w for n, w in weights.items()) / sum(weights.values()))
            break
    trusts = dict.fromkeys(raw, trust) | {"neck": neck_trust}
    lengths = {n: scale * (r / scale) ** trusts[n] if np.isfinite(r) else scale for n, r in raw.items()}
    return Ratios(scale, lengths)


def _length(a: np.ndarray, b: np.ndarray, quantile: float) -> float:
    both = (a[:, 2] > 0) & (b[:, 2] > 0)
    if not both.any():
        return float("nan")
    length = float(np.quantile(np.linalg.norm(a[both, :2] - b[both, :2], axis=1), quantile))
    return length if length >= _MINIMUM_PIXELS else float("nan")


def _ratio(driver: tuple[float, ...], target: tuple[float, ...]) -> float:
    """Return the ratio of the longest distances among the pairs that are known of both people; NaN without any."""
    shared = [(d, t) for d, t in zip(driver, target) if np.isfinite(d) and np.isfinite(t)]
    if not shared:
        return float("nan")
    return max(t for _, t in shared) / max(d for d, _ in shared)
