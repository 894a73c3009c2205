"""Hands by MediaPipe's palm and hand networks, looked for at the wrists of a body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mediapipe_body import TRUNK, Body
from .mediapipe_networks import PALM, Run
from .regions import UP, Region, grown, region_around, turn

SIDES = ("left", "right")
KEPT_PRESENCE, FOLLOWED_PRESENCE = 0.25, 0.5
MIN_WRIST_VISIBILITY = 0.1
SAME_HAND = 0.3  # mean distance of equal points, in longer sides of the larger hand
_SIZE = 224
_WRIST_DISTANCE = 0.6  # of an answer's wrist from the body's, in sides of the region
_PALM_DISTANCE = 0.35  # the same of a palm
_PALM_POINTS = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]


@dataclass(frozen=True)
class Hand:
    """points: [21, 2] in pixels of the picture: wrist, then four joints a finger, thumb first. presence: in [0, 1]."""

    points: np.ndarray
    presence: float

    @property
    def region(self) -> Region:
        """Where the hand is looked for again."""
        index, middle, ring = (self.points[k] for k in (5, 9, 13))
        angle = turn(self.points[0], ((index + ring) / 2 + middle) / 2, UP)
        return region_around(self.points[_PALM_POINTS], angle, 2.0, -0.1)


@dataclass(frozen=True)
class _Arm:
    wrist: np.ndarray
    elbow: np.ndarray
    little: np.ndarray
    index: np.ndarray
    trunk: float  # longer side of the box around the trunk, pixels

    @classmethod
    def of(cls, body: Body, side: str) -> _Arm:
        wrist, elbow, little, index = (body.place(f"{side}_{name}") for name in ("wrist", "elbow", "little", "index"))
        return cls(wrist, elbow, little, index, float(np.ptp(body.points[TRUNK, :2], axis=0).max()))


def find_hands(run: Run, picture: np.ndarray, body: Body, last: dict[str, Hand | None]) -> dict[str, Hand | None]:
    """Return the hand of each of SIDES of a body, None where it is not found. last: those of the last picture."""
    height, width = picture.shape[:2]
    found: dict[str, Hand | None] = {}
    for side in SIDES:
        x, y = body.place(f"{side}_wrist")
        seen = body.visibility(f"{side}_wrist") >= MIN_WRIST_VISIBILITY
        seen &= bool(0 <= x <= width and 0 <= y <= height)
        found[side] = _find_hand(run, picture, _Arm.of(body, side), last.get(side)) if seen else None
    return without_double(found)


def without_double(hands: dict[str, Hand | None]) -> dict[str, Hand | None]:
    """Return the hands without the less certain one if both are the same hand of the picture."""
    left, right = (hands[side] for side in SIDES)
    if left is None or right is None:
        return hands
    size = max(float(np.ptp(hand.points, axis=0).max()) for hand in (left, right))
    if np.linalg.norm(left.points - right.points, axis=1).mean() >= SAME_HAND * size:
        return hands
    return {"left": left, "right": None} if left.presence >= right.presence else {"left": None, "right": right}


def _find_hand(run: Run, picture: np.ndarray, arm: _Arm, last: Hand | None) -> Hand | None:
    """Return the first answer that is certain, else the best, of three places: last picture's, a palm's, expected."""
    answers: list[Hand] = []
    for number, find_region in enumerate((
        lambda: last.region if last is not None and last.presence > FOLLOWED_PRESENCE else None,
        lambda: _palm_region(run, picture, arm),
        lambda: _expected_region(arm),
    )):  # fmt: skip
        region = find_region()
        answer = None if region is None else _look(run, picture, region, arm)
        if answer is None:
            continue
        if number > 0 and answer.presence > KEPT_PRESENCE:  # where it is, not where it was presumed
            again = _look(run, picture, answer.region, arm)
            if again is not None and again.presence >= answer.presence:
                answer = again
        if answer.presence > FOLLOWED_PRESENCE:
            return answer
        answers.append(answer)
    best = max(answers, key=lambda hand: hand.presence, default=None)
    return best if best is not None and best.presence > KEPT_PRESENCE else None


def _look(run: Run, picture: np.ndarray, region: Region, arm: _Arm) -> Hand | None:
    """Return what the hand network sees in a region; None if it is not at the arm's wrist."""
    height, width = picture.shape[:2]
    if not region.usable(width, height):
        return None
    landmarks, presence = run("hand", region.crop(picture, _SIZE, repeat_border=True))
    points = region.to_picture(landmarks.reshape(21, 3)[:, :2].astype(np.float64) / _SIZE)
    if np.linalg.norm(points[0] - arm.wrist) >= _WRIST_DISTANCE * region.side:
        return None
    return Hand(points, float(presence.item()))


def _palm_region(run: Run, picture: np.ndarray, arm: _Arm) -> Region | None:
    """Return the region of the hand whose palm is found at the wrist, None if there is no palm."""
    knuckles = (arm.little + arm.index) / 2
    centre = arm.wrist + 0.6 * (knuckles - arm.wrist)
    reach = 1.65 * np.linalg.norm(arm.wrist - arm.elbow), 4 * np.linalg.norm(knuckles - arm.wrist)
    region = Region(float(centre[0]), float(centre[1]), float(max(*reach, 0.5 * arm.trunk)))
    height, width = picture.shape[:2]
    if not region.usable(width, height):
        return None
    palms = [(np.linalg.norm(palm.keypoints[0] - arm.wrist), palm) for palm in PALM.find(run, picture, region)]
    distance, palm = min(palms, key=lambda pair: pair[0], default=(np.inf, None))
    if palm is None or distance >= _PALM_DISTANCE * region.side:
        return None
    angle = turn(palm.keypoints[0], palm.keypoints[2], UP)
    return grown(palm.centre, palm.size, angle, 2.6, -0.5)


def _expected_region(arm: _Arm) -> Region:
    """Return where the pose network's points of a hand say that it is."""
    centre = (2 * arm.index + arm.little) / 3
    side = 2 * float(np.linalg.norm(centre - arm.wrist))
    return grown(centre, np.array([side, side]), turn(arm.wrist, centre, UP), 2.295, -0.1)
