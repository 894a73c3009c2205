"""Read body keypoints back from a drawn pose map."""

import cv2
import numpy as np

from ..draw import JOINT_RADIUS, LIMBS, PALETTE, PUBLISHED_SHORT_SIDE
from ..keypoints import Person

# Compression changes the colours of joint discs a little; the two nearest colours of the palette are 85 apart. Limbs
# are 0.6 times as bright, which is undone before they are compared: brighter than the ground, darker than points.
TOLERANCE, LIMB_TOLERANCE, GROUND, POINT = 40, 60, 60, 200
VISIBLE_SHARE = 0.15  # of a disc, at least
FUSED = 1.4  # times as wide or high as a disc: a line, or several discs
MAX_FUSED = 64  # discs read of one patch
# What a pixel on the line between two joints adds to their score: it has the limb's colour, or one that is drawn over
# it, or another. A disc counts at most 1, so that two of them without a limb are worth less than one.
SEEN, HIDDEN, ABSENT, LINE_SAMPLES = 2.0, -0.6, -2.0, 24


class DrawnMapDetector:
    """Finds the body joints of one person in a pose map for the Pose ControlNet, by the colours of discs and limbs.

    Points and lines of hands have the colours of joints, points that of the left knee. Of all discs, those are taken
    that together, with the limbs between them, are seen best; limbs form a tree, so this is computed exactly
    (Felzenszwalb and Huttenlocher 2005, "Pictorial Structures for Object Recognition", section 3).
    Hands and face stay missing: many of their points share one colour and cannot be told apart.
    """

    def reset(self) -> None:
        """See `Detector.reset`; nothing is remembered."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See `Detector.detect`; the picture is the map. Confidence is the visible share of a joint's disc."""
        discs = _find_discs(picture, JOINT_RADIUS * min(picture.shape[:2]) / PUBLISHED_SHORT_SIDE)
        body = np.zeros((18, 3), np.float32)
        for joint, number in enumerate(_best_discs(picture, discs)):
            if number is not None:
                body[joint] = discs[joint][number]
        return (Person(body),) if body.any() else ()


def _find_discs(picture: np.ndarray, radius: float) -> list[np.ndarray]:
    """Return the discs in the colour of each joint: x, y and visible share, `[n, 3]` for each of the 18."""
    area = np.pi * (radius + 0.5) ** 2
    bright = picture.max(axis=-1) > 255 - TOLERANCE  # limbs are darker
    pixels, near = picture[bright].astype(np.int16), np.zeros(picture.shape[:2], np.uint8)
    found = []
    for colour in PALETTE:
        near[bright] = np.abs(pixels - colour).max(axis=-1) < TOLERANCE
        _, labels, statistics, centres = cv2.connectedComponentsWithStats(near)
        discs: list[tuple[float, float, float]] = []
        for label in range(1, len(statistics)):
            left, top, width, height, pixel_count = statistics[label].tolist()
            if max(width, height) > FUSED * (2 * radius + 1):
                patch = labels[top : top + height, left : left + width] == label
                discs += [(left + x, top + y, share) for x, y, share in _separate(patch.astype(np.float32), radius)]
            elif pixel_count > VISIBLE_SHARE * area:
                discs.append((*(centres[label] + 0.5), min(1.0, pixel_count / area)))
        found.append(np.array(discs, np.float32).reshape(-1, 3))
    return found


def _separate(patch: np.ndarray, radius: float) -> list[tuple[float, float, float]]:
    """Return discs that overlap in a patch `[h, w]` of ones and zeros: x, y and visible share, the fullest first."""
    side = round(radius)
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    disc = (x**2 + y**2 <= (radius + 0.5) ** 2).astype(np.float32)
    shares = cv2.filter2D(patch, -1, disc / disc.sum(), borderType=cv2.BORDER_CONSTANT)
    found = []
    while len(found) < MAX_FUSED:
        _, share, _, (column, row) = cv2.minMaxLoc(shares)
        if share < 0.5:
            break
        found.append((column + 0.5, row + 0.5, share))
        cv2.circle(shares, (column, row), max(1, side), 0, -1)
    return found


def _best_discs(picture: np.ndarray, discs: list[np.ndarray]) -> list[int | None]:
    """Return which disc each joint has, None if none, for the highest sum of shares and limbs."""
    scores = [np.append(found[:, 2], 0) for found in discs]  # the last choice is to have none
    choices = {}
    for index in range(len(LIMBS) - 1, -1, -1):  # from the ends of arms, legs and head to the neck
        start, end = LIMBS[index]
        limb = np.zeros((len(scores[start]), len(scores[end])))
        limb[:-1, :-1] = _limb_scores(picture, discs[start], discs[end], index)
        total = limb + scores[end]
        choices[end] = total.argmax(axis=1)
        scores[start] = scores[start] + total.max(axis=1)
    root = LIMBS[0][0]
    chosen = {root: int(scores[root].argmax())}
    for start, end in LIMBS:
        chosen[end] = int(choices[end][chosen[start]])
    return [None if chosen[joint] == len(found) else chosen[joint] for joint, found in enumerate(discs)]


def _limb_scores(picture: np.ndarray, starts: np.ndarray, ends: np.ndarray, limb: int) -> np.ndarray:
    """Return the scores `[n, m]` of a limb, an index of LIMBS, from each start to each end."""
    along = np.linspace(0.15, 0.85, LINE_SAMPLES, dtype=np.float32)[:, None]
    points = starts[:, None, None, :2] * (1 - along) + ends[None, :, None, :2] * along
    pixels = picture[points[..., 1].astype(int), points[..., 0].astype(int)].astype(np.float32)
    brightness = pixels.max(axis=-1)
    colours = pixels * 255 / np.maximum(brightness, 1)[..., None]
    distances = np.abs(colours[..., None, :] - np.float32(PALETTE[: len(LIMBS)])).max(axis=-1)
    seen = (brightness > GROUND) & (distances[..., limb] < LIMB_TOLERANCE)
    above = (brightness > POINT) | (brightness > GROUND) & (distances.argmin(axis=-1) > limb)  # later limbs are above
    return np.where(seen, SEEN, np.where(above, HIDDEN, ABSENT)).mean(axis=-1)
