"""Bodies by MediaPipe's pose network: 33 points, and where to look in the next picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mediapipe_networks import Run
from .regions import UP, Region, turn

NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_little", "right_little", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_toes", "right_toes",
)  # fmt: skip
INDEX = {name: number for number, name in enumerate(NAMES)}
HEAD = slice(0, 11)
TRUNK = [INDEX[name] for name in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")]

MIN_PRESENCE = 0.5
SAME_PERSON = 0.35  # mean distance of trunk and nose, in longer sides of the box around them
_SIZE, _WINDOW = 256, 3
_CIRCLE_SLACK = 1.25  # of the circle around the body that a detection's second keypoint lies on


@dataclass(frozen=True)
class Body:
    """points: [33, 4], x and y in pixels of the picture, visibility, presence. presence: of a person, in [0, 1].

    next_region: where the person is looked for in the next picture.
    """

    points: np.ndarray
    presence: float
    next_region: Region

    def place(self, name: str) -> np.ndarray:
        """Return x and y of a point of NAMES."""
        return self.points[INDEX[name], :2]

    def visibility(self, name: str) -> float:
        return float(self.points[INDEX[name], 2])

    @property
    def confidences(self) -> np.ndarray:
        """The lower of visibility and presence of each point, [33]."""
        return self.points[:, 2:].min(axis=1)


def body_region(middle: np.ndarray, on_circle: np.ndarray) -> Region:
    """Return the region of a person by the hips' middle and a point on the circle around the body, above the head."""
    side = 2 * _CIRCLE_SLACK * float(np.linalg.norm(on_circle - middle))
    return Region(float(middle[0]), float(middle[1]), side, turn(middle, on_circle, UP))


def find_body(run: Run, picture: np.ndarray, region: Region) -> Body | None:
    """Return the body in a region of a picture; None if there is nobody."""
    height, width = picture.shape[:2]
    if not region.usable(width, height):
        return None
    landmarks, presence, heat = run("pose", region.crop(picture, _SIZE, repeat_border=True))
    if not presence.item() > MIN_PRESENCE:
        return None
    rows = landmarks.reshape(39, 5).astype(np.float64)
    places = region.to_picture(refine(rows[:, :2] / _SIZE, heat[0]))
    points = np.concatenate([places[:33], _sigmoid(rows[:33, 3:])], axis=1)
    return Body(points, float(presence.item()), body_region(places[33], places[34]))


def find_new_body(run: Run, picture: np.ndarray, region: Region) -> Body | None:
    """Return the body in a region that was only estimated: found, then looked at once more where it is."""
    first = find_body(run, picture, region)
    return first and (find_body(run, picture, first.next_region) or first)


def same_person(a: Body, b: Body) -> bool:
    """Return whether two bodies of a picture are one person's."""
    five = [*TRUNK, INDEX["nose"]]
    size = max(float(np.ptp(body.points[five, :2], axis=0).max()) for body in (a, b))
    return bool(np.linalg.norm(a.points[five, :2] - b.points[five, :2], axis=1).mean() <= SAME_PERSON * size)


def refine(places: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return places [K, 2], in [0, 1], moved to the mean of heat maps around them.

    heat: logits [h, w, K]. A window of 7 x 7 cells around a place counts if a probability in it is at least 0.5.
    """
    height, width, _ = heat.shape
    refined = np.array(places, np.float64)
    columns, rows = (np.floor(places[:, axis] * size).astype(int) for axis, size in ((0, width), (1, height)))
    for k in np.flatnonzero((columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)):
        top, left = max(rows[k] - _WINDOW, 0), max(columns[k] - _WINDOW, 0)
        weights = _sigmoid(heat[top : rows[k] + _WINDOW + 1, left : columns[k] + _WINDOW + 1, k].astype(np.float64))
        if weights.max() >= 0.5:
            y, x = np.mgrid[top : top + weights.shape[0], left : left + weights.shape[1]]
            refined[k] = (x * weights).sum() / weights.sum() / width, (y * weights).sum() / weights.sum() / height
    return refined


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -80, 80)))
