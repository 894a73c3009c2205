"""How long a person's bones are, as far as pictures show it, and how two people's compare."""

from dataclasses import dataclass

import numpy as np

from .keypoints import POINTS, SLICES

NOSE, NECK = 0, 1
SHOULDERS, ELBOWS, WRISTS = (2, 5), (3, 6), (4, 7)
HIPS, KNEES, ANKLES = (8, 11), (9, 12), (10, 13)
EYES, EARS = (14, 15), (16, 17)
MIDDLE_HIP = POINTS  # of the points with the middle of the hips appended

_FACE, _HANDS = SLICES["face"].start, (SLICES["right_hand"].start, SLICES["left_hand"].start)

# Pairs of points whose distance is a length. Of the two sides the longer counts: the other points at the viewer.
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
# Of a length's values over a clip this quantile is taken: of limbs, which turn to the viewer and look shorter, one
# near the longest; of the trunk and the head, which a nod or a bend makes shorter or longer, the middle.
LIMB_QUANTILE, TRUNK_QUANTILE = 0.9, 0.5
_TRUNK = ("torso", "neck", "head width", "head height")
_MINIMUM_PIXELS = 1.0


def with_middle_hip(points: np.ndarray) -> np.ndarray:
    """Points [F, 136, 3] with the middle of the hips appended: [F, 137, 3], float32."""
    points = np.asarray(points, np.float32)
    right, left = points[:, HIPS[0]], points[:, HIPS[1]]
    middle = np.concatenate([(right[:, :2] + left[:, :2]) / 2, np.minimum(right[:, 2:], left[:, 2:])], axis=1)
    return np.concatenate([points, np.where(middle[:, 2:] > 0, middle, 0)[:, None]], axis=1)


def measure(points: np.ndarray) -> dict[str, tuple[float, ...]]:
    """The lengths of a person shown in frames [F, 137, 3]: for each name one value a pair, in pixels; NaN if unseen."""
    lengths = {}
    for name, pairs in LENGTHS.items():
        quantile = TRUNK_QUANTILE if name in _TRUNK else LIMB_QUANTILE
        lengths[name] = tuple(_length(points[:, a], points[:, b], quantile) for a, b in pairs)
    return lengths


@dataclass(frozen=True)
class Ratios:
    """How many times longer each length is on the target than on the driver; scale is that of the whole person."""

    scale: float
    lengths: dict[str, float]

    def __getitem__(self, name: str) -> float:
        return self.lengths[name]


def compare(driver: dict, target: dict, trust: float, neck_trust: float) -> Ratios:
    """Ratios of two people's `measure`.

    The scale is the length-weighted mean over what both show of torso, thigh and shin, else of head and shoulders,
    else of anything; 1 where they share nothing. A ratio is the longest side's, moved towards the scale by 1 - trust
    (in logarithm): a single picture foreshortens; neck_trust is the same for the neck, which every nod changes. What
    either does not show has the scale's ratio.
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
    """Pairs are compared only where both people show them, heads by the first such pair, limbs by the longer side."""
    shared = [(d, t) for d, t in zip(driver, target) if np.isfinite(d) and np.isfinite(t)]
    if not shared:
        return float("nan")
    return max(t for _, t in shared) / max(d for d, _ in shared)
