"""Masks of people from their keypoints: limbs of usual thickness, a head with hair, hands, feet."""

from collections.abc import Sequence

import cv2
import numpy as np

from .keypoints import Person, PoseFrame
from .tracking import person_size

# Half the thickness of each part, in units of half the shoulders' width.
UPPER_ARM, LOWER_ARM, THIGH, SHIN, TORSO, NECK_RADIUS, HAND, FOOT = 0.38, 0.31, 0.50, 0.43, 0.25, 0.50, 0.17, 0.38
# Half the shoulders' width where it is foreshortened, as a share of other lengths, by the points at their ends.
LENGTHS = (((2, 5), 0.5), ((1, 8), 0.34), ((1, 11), 0.34), ((8, 9), 0.36), ((11, 12), 0.36))
LIMBS = (
    ((2, 3), UPPER_ARM), ((5, 6), UPPER_ARM), ((3, 4), LOWER_ARM), ((6, 7), LOWER_ARM),
    ((8, 9), THIGH), ((11, 12), THIGH), ((9, 10), SHIN), ((12, 13), SHIN), ((1, 0), NECK_RADIUS),
)  # fmt: skip
TRUNK = (2, 5, 11, 8)
HANDS = (("left_hand", 6, 7), ("right_hand", 3, 4))
FEET = ((slice(0, 3), 13), (slice(3, 6), 10))
# The head with hair, in units of half the face's width and of its height from the brows to the chin.
HEAD_WIDTH, HEAD_ABOVE, HEAD_BELOW = 1.2, 0.72, 0.09
FACE_WIDTH = 0.75  # half of it, in units of half the shoulders' width, where no part of the face says it
SUPERSAMPLING = 2

DEFAULT_MARGIN, DEFAULT_SOFTNESS = 0.35, 0.15
"""In units of half the shoulders' width: what contains loose clothes and hair, and hides the border."""
REFERENCE_MARGIN, REGION_MARGIN = 0.1, 0.8
"""In the same units: of a reference's mask, which keeps its background out, and of the region in which it acts."""


def person_mask(
    person: Person, width: int, height: int, margin: float = DEFAULT_MARGIN, softness: float = DEFAULT_SOFTNESS
) -> np.ndarray:
    """Return where a person is, float32 `[height, width]` in [0, 1], as far as keypoints tell.

    person: in pixels of a canvas of that size. margin: grows the mask, softness: standard deviation of its blurred
    border; both in units of half the shoulders' width.
    """
    scale = SUPERSAMPLING
    canvas = np.zeros((height * scale, width * scale), np.uint8)
    unit = half_shoulders(person)
    if unit == 0:
        return np.zeros((height, width), np.float32)

    def stroke(points: np.ndarray, radius: float) -> None:
        pixels, grown = np.round(points * scale).astype(np.int32), max(1, round((radius + margin) * unit * scale))
        if len(pixels) > 2:
            hull = cv2.convexHull(pixels.reshape(-1, 1, 2))
            cv2.fillConvexPoly(canvas, hull, 1)
            cv2.polylines(canvas, [hull], True, 1, 2 * grown)
        else:
            cv2.line(canvas, tuple(map(int, pixels[0])), tuple(map(int, pixels[-1])), 1, 2 * grown)
        for point in pixels:
            cv2.circle(canvas, tuple(map(int, point)), grown, 1, -1)

    body = person.body
    trunk = _visible(body[list(TRUNK)])
    if len(trunk):
        stroke(trunk, TORSO)
    for ends, radius in LIMBS:
        if body[list(ends), 2].all():
            stroke(body[list(ends), :2], radius)
    for part, elbow, wrist in HANDS:
        stroke_points = _hand(getattr(person, part), body[elbow], body[wrist])
        if len(stroke_points):
            stroke(stroke_points, HAND)
    for points, ankle in FEET:
        if body[ankle, 2]:
            stroke(np.concatenate([body[[ankle], :2], _visible(person.feet[points])]), FOOT)
    _draw_head(canvas, person, unit, margin * unit, scale)
    mask = cv2.resize(canvas.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(mask, (0, 0), softness * unit) if softness * unit > 0.3 else mask


def person_masks(
    frame: PoseFrame, margin: float = DEFAULT_MARGIN, softness: float = DEFAULT_SOFTNESS, hide: bool = True
) -> np.ndarray:
    """Return the mask of each person of a frame, float32 `[P, H, W]` in [0, 1]; see `person_mask`.

    hide: of those who overlap, the nearer one hides the other: who stands lower, or else is larger.
    """
    masks = np.zeros((len(frame.people), frame.height, frame.width), np.float32)
    for number, person in enumerate(frame.people):
        masks[number] = person_mask(person, frame.width, frame.height, margin, softness)
    return hide_behind(masks, frame.people) if hide else masks


def hide_behind(masks: np.ndarray, people: Sequence[Person]) -> np.ndarray:
    """Return masks of people, float32 `[P, H, W]`, without what nearer ones hide."""
    visible, free = np.zeros_like(masks), np.ones(masks.shape[1:], np.float32)
    for number in front_to_back(people):
        visible[number] = masks[number] * free
        free *= 1 - masks[number]
    return visible


def region_masks(frame: PoseFrame) -> np.ndarray:
    """Return where the reference of each person should act, float32 `[P, H, W]` in [0, 1]: around the person, with a
    wide margin, but not where keypoints see somebody else."""
    visible = person_masks(frame, 0.0)
    wide = [person_mask(person, frame.width, frame.height, REGION_MARGIN) for person in frame.people]
    masks = np.zeros_like(visible)
    for number, mask in enumerate(wide):
        others = np.delete(visible, number, axis=0).sum(axis=0)
        masks[number] = mask * (1 - others).clip(0, 1)
    return masks


def front_to_back(people: Sequence[Person]) -> list[int]:
    """Return the numbers of people from the nearest to the farthest: by their lowest point, in steps of a tenth of
    their size, then by size."""
    sizes = [person_size(person) for person in people]
    step = max(max(sizes, default=1.0) / 10, 1e-6)
    lowest = [round(float(_visible(person.body)[:, 1].max(initial=0)) / step) for person in people]
    return sorted(range(len(people)), key=lambda number: (-lowest[number], -sizes[number]))


def half_shoulders(person: Person) -> float:
    """Return half the width of a person's shoulders in pixels, from what is not foreshortened; 0 if unknown."""
    body, lengths = person.body, []
    for ends, share in LENGTHS:
        if body[list(ends), 2].all():
            lengths.append(share * float(np.linalg.norm(body[ends[0], :2] - body[ends[1], :2])))
    if not lengths and (face := _face(person)) is not None:
        lengths.append(face[1] / FACE_WIDTH)
    return max(lengths, default=0.0)


def _visible(points: np.ndarray) -> np.ndarray:
    return points[points[:, 2] > 0, :2]


def _hand(hand: np.ndarray, elbow: np.ndarray, wrist: np.ndarray) -> np.ndarray:
    """Return the points of a hand, or where it would be, beyond the wrist."""
    found = _visible(hand)
    if len(found) or not (elbow[2] and wrist[2]):
        return found
    return np.stack([wrist[:2], wrist[:2] + 0.3 * (wrist[:2] - elbow[:2])])


def _face(person: Person) -> tuple[np.ndarray, float, np.ndarray, float] | None:
    """Return a face's centre between the brows, half its width, the direction to its chin, and its height to there."""
    face, body = person.face, person.body
    if face[[0, 16, 8, 21, 22], 2].all():
        brows, chin = face[[21, 22], :2].mean(axis=0), face[8, :2]
        height = float(np.linalg.norm(chin - brows))
        half = float(np.linalg.norm(face[0, :2] - face[16, :2])) / 2
        if height > 0:
            return brows, max(half, 0.6 * height), (chin - brows) / height, height
    ends = body[[16, 17]] if body[[16, 17], 2].all() else body[[14, 15]]
    if not ends[:, 2].all() or not body[0, 2]:
        return None
    middle, apart = ends[:, :2].mean(axis=0), float(np.linalg.norm(ends[0, :2] - ends[1, :2]))
    half = apart / 2 if body[[16, 17], 2].all() else apart
    down = body[1, :2] - middle if body[1, 2] else np.array([0.0, 1.0])
    length = float(np.linalg.norm(down))
    return (middle, half, down / length, 1.4 * half) if length > 0 and half > 0 else None


def _draw_head(canvas: np.ndarray, person: Person, unit: float, margin: float, scale: int) -> None:
    face, body = _face(person), person.body
    if face is None:
        points = _visible(body[[0, 14, 15, 16, 17]])
        if not len(points):
            return
        down = np.array([0.0, 1.0])
        face = points.mean(axis=0), FACE_WIDTH * unit, down, 1.4 * FACE_WIDTH * unit
    brows, half, down, height = face
    top, bottom = brows - HEAD_ABOVE * height * down, brows + (1 + HEAD_BELOW) * height * down
    centre, semi = (top + bottom) / 2, float(np.linalg.norm(bottom - top)) / 2
    axes = (semi + margin, HEAD_WIDTH * half + margin)
    angle = float(np.degrees(np.arctan2(down[1], down[0])))
    centre, axes = centre * scale, (axes[0] * scale, axes[1] * scale)
    outline = cv2.ellipse2Poly(tuple(map(round, centre.tolist())), tuple(map(round, axes)), round(angle), 0, 360, 6)
    cv2.fillConvexPoly(canvas, outline, 1)
