"""Change poses for training: leave out parts, as a detector does that misses them, and exchange left and right."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from .keypoints import PARTS, Person, PoseFrame

HIDEABLE = ("face", "left_hand", "right_hand")


def without_parts(frame: PoseFrame, hidden: Collection[str]) -> PoseFrame:
    """Return the frame without some of `HIDEABLE`: these points are missing in all people."""
    if not hidden:
        return frame
    missing = {part: np.zeros((PARTS[part], 3), np.float32) for part in hidden}
    return replace(frame, people=tuple(replace(person, **missing) for person in frame.people))


# Where each point of the mirrored person comes from. The face has iBUG's landmarks, then the right and left pupil.
_BODY = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]
_FACE = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), *range(45, 41, -1), 47, 46,
    *range(39, 35, -1), 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1), 69, 68,
]  # fmt: skip
_FEET = [3, 4, 5, 0, 1, 2]


def mirrored(frame: PoseFrame) -> PoseFrame:
    """Return the frame as a mirror shows it: what was a left hand is a right hand at the other side of the canvas."""

    def turned(points: np.ndarray) -> np.ndarray:
        shown = points[:, 2:] > 0
        return np.where(shown, points * np.float32([-1, 1, 1]) + np.float32([frame.width, 0, 0]), 0)

    def person(old: Person) -> Person:
        return replace(
            old,
            body=turned(old.body)[_BODY],
            face=turned(old.face)[_FACE],
            feet=turned(old.feet)[_FEET],
            left_hand=turned(old.right_hand),
            right_hand=turned(old.left_hand),
        )

    return replace(frame, people=tuple(map(person, frame.people)))
