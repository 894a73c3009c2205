"""Layouts of body keypoints in files of other programs, by their number of points, as 18 points and 6 of the feet."""

from typing import TypeAlias

import numpy as np

from ..errors import InputError

FEET = 6
_NOSE, _NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 0, 1, 2, 5

Layout: TypeAlias = tuple[tuple[int | None, ...], tuple[int | None, ...]]  # rows of the body, and of the feet
# Rows of a layout that become ours, None where it has no such point. The neck is computed where it is missing.
_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_BLAZEPOSE = (0, None, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)  # as MediaPipe's
_LAYOUTS: dict[int, Layout] = {
    17: (_COCO, (None,) * FEET),  # COCO
    18: (tuple(range(18)), (None,) * FEET),  # OpenPose
    20: (tuple(range(18)), (18, None, None, 19, None, None)),  # OpenPose and two toes, as Wan Animate's
    23: (_COCO, tuple(range(17, 23))),  # COCO and feet
    26: (_COCO, (20, 22, 24, 21, 23, 25)),  # Halpe, as RTMPose's body26
    33: (_BLAZEPOSE, (31, None, 29, 32, None, 30)),
    133: (_COCO, tuple(range(17, 23))),  # COCO-WholeBody
}
_BODY_25: Layout = ((*range(8), *range(9, 19)), tuple(range(19, 25)))  # without the middle of the hips
_BODY_18_AND_TOES: Layout = (tuple(range(18)), (18, None, None, 19, None, None))  # and padding
# Rows of COCO-WholeBody beside the body.
WHOLE_BODY = 133
WHOLE_BODY_PARTS = {"face": slice(23, 91), "left_hand": slice(91, 112), "right_hand": slice(112, 133)}
_REFUSED = {
    14: "LSP or CrowdPose", 15: "MPI", 16: "MPII", 19: "BODY_19 or Panoptic", 21: "a hand or BODY_21", 24: "SMPL",
    135: "BODY_135", 136: "Halpe-136", 137: "BODY_25 with face and hands", 308: "Goliath",
}  # fmt: skip


def to_body_and_feet(points: np.ndarray, is_body_25: bool, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return body [18, 3] and feet [6, 3] of the body points [n, 3] of another layout.

    is_body_25: which of two layouts 25 points are, see `votes_for_body_25`. name: of the points, in messages.
    Raises InputError for a number of points that is no layout known to be unambiguous.
    """
    if len(points) == 25:
        layout = _BODY_25 if is_body_25 else _BODY_18_AND_TOES
    elif len(points) in _LAYOUTS:
        layout = _LAYOUTS[len(points)]
    else:
        known = _REFUSED.get(len(points))
        also = f", which looks like the layout {known}" if known else ""
        raise InputError(
            f"{name} has {len(points)} points{also}: give 18 (OpenPose), 17 or 133 (COCO), 20, 23, 25, 26 or 33."
        )
    body, feet = (_rows(points, rows) for rows in layout)
    if not body[_NECK].any():
        right, left = body[_RIGHT_SHOULDER], body[_LEFT_SHOULDER]
        if layout[0][_NECK] is None and min(right[2], left[2]) > 0:
            body[_NECK] = *(right[:2] + left[:2]) / 2, min(right[2], left[2])
    return body, feet


def votes_for_body_25(points: np.ndarray) -> int:
    """Return how much speaks for 25 body points [25, 3] being BODY_25, rather than 18 points, toes and padding.

    In BODY_25 point 8 is the middle of the hips, points 9 and 12, and point 14 an ankle; in the other layout 14 is an
    eye. Negative: it is the other one; 0: nothing can be told.
    """
    seen = points[:, 2] > 0
    votes = 0
    if seen[[1, 8, 9, 12]].all():
        torso = np.linalg.norm(points[8, :2] - points[1, :2])
        distance = np.linalg.norm(points[8, :2] - points[[9, 12], :2].mean(axis=0))
        votes += 1 if distance < 0.2 * torso else -1
    if seen[[_NOSE, _NECK, 14]].all():
        head = np.linalg.norm(points[_NOSE, :2] - points[_NECK, :2])
        votes += -1 if np.linalg.norm(points[14, :2] - points[_NOSE, :2]) < head else 1
    elif seen[18] and not seen[14]:
        votes += 1
    return votes


def _rows(points: np.ndarray, rows: tuple[int | None, ...]) -> np.ndarray:
    chosen = np.zeros((len(rows), 3), points.dtype)
    for row, source in enumerate(rows):
        if source is not None:
            chosen[row] = points[source]
    return chosen
