"""COCO-WholeBody's 133 points, as DWPose gives them."""

import numpy as np

from ..errors import InputError
from .keypoints import Person
from .openpose_json import middle

POINTS = 133
FEET, FACE, LEFT_HAND, RIGHT_HAND = slice(17, 23), slice(23, 91), slice(91, 112), slice(112, 133)
# COCO's 17 body points in the order of OpenPose's, which has the neck beside.
_COCO = (0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_OPENPOSE = (0, *range(2, 18))
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5


def person_from_wholebody(points: np.ndarray, threshold: float = 0.0) -> Person:
    """The person of COCO-WholeBody points: [133, 3] x, y in pixels, confidence.

    The neck is midway between the shoulders with the lower of their confidences. Pupils, which the format lacks, are
    missing. Points whose confidence is not above `threshold` are dropped.
    Source: COCO-WholeBody (arXiv 2007.11858). Raises InputError where the shape differs.
    """
    points = np.asarray(points, np.float32)
    if points.shape != (POINTS, 3):
        raise InputError(f"COCO-WholeBody points have shape {list(points.shape)}; give {[POINTS, 3]}.")
    points = np.where(points[:, 2:] > threshold, points, 0)
    body = np.zeros((18, 3), np.float32)
    body[list(_OPENPOSE)] = points[list(_COCO)]
    body[_NECK] = middle(body[_RIGHT_SHOULDER], body[_LEFT_SHOULDER])
    face = np.concatenate([points[FACE], np.zeros((2, 3), np.float32)])
    return Person(body, points[LEFT_HAND], points[RIGHT_HAND], face, feet=points[FEET])


def person_to_wholebody(person: Person) -> np.ndarray:
    """COCO-WholeBody points of a person: float32 [133, 3]; the neck and the pupils have no place in it."""
    points = np.zeros((POINTS, 3), np.float32)
    points[list(_COCO)] = person.body[list(_OPENPOSE)]
    points[FEET], points[FACE] = person.feet, person.face[:68]
    points[LEFT_HAND], points[RIGHT_HAND] = person.left_hand, person.right_hand
    return points
