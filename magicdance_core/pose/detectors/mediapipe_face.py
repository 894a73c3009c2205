"""Faces by MediaPipe's face networks, looked for at the head of a body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mediapipe_body import HEAD, Body
from .mediapipe_networks import FACE_BOX, Run
from .regions import RIGHT, Region, grown, region_around, turn

MIN_SCORE = 0.5
_SIZE, _MESH_POINTS = 192, 468
_RIGHT_EYE, _LEFT_EYE = 33, 263  # outer corners


@dataclass(frozen=True)
class Face:
    """points: [478, 2] in pixels of the picture: a mesh of 468 points, right iris (468 to 472), left iris; the irises'
    centres come first. score: in [0, 1].
    """

    points: np.ndarray
    score: float

    @property
    def region(self) -> Region:
        """Where the face is looked for again."""
        angle = turn(self.points[_RIGHT_EYE], self.points[_LEFT_EYE], RIGHT)
        return region_around(self.points[:_MESH_POINTS], angle, 1.5)


def find_face(run: Run, picture: np.ndarray, body: Body, last: Face | None, new: bool) -> Face | None:
    """Return the face of a body, None if it is not seen. last: that of the last picture. new: whether the body is."""
    regions = (
        lambda: last and last.region,
        lambda: _box_region(run, picture, body),
        lambda: _expected_region(body),
    )
    for make_region in regions:
        region = make_region()
        found = region and _look(run, picture, region)
        if found:
            return (new and _look(run, picture, found.region)) or found
    return None


def _look(run: Run, picture: np.ndarray, region: Region) -> Face | None:
    """Return the face that the network sees in a region; None if there is none."""
    height, width = picture.shape[:2]
    if not region.usable(width, height):
        return None
    mesh, lips, left_eye, right_eye, left_iris, right_iris, flag = run("face", region.crop(picture, _SIZE, True))
    score = 1 / (1 + np.exp(-np.clip(float(flag.item()), -80, 80)))
    if not score > MIN_SCORE:
        return None
    points = mesh.reshape(_MESH_POINTS, 3)[:, :2].astype(np.float64)
    for indices, refined in ((LIPS, lips), (EYE_LEFT_IN_PICTURE, left_eye), (EYE_RIGHT_IN_PICTURE, right_eye)):
        points[list(indices)] = refined.reshape(-1, 2)
    points = np.concatenate([points, left_iris.reshape(5, 2), right_iris.reshape(5, 2)])
    return Face(region.to_picture(points / _SIZE), float(score))


def _box_region(run: Run, picture: np.ndarray, body: Body) -> Region | None:
    """Return the region of the face box that is found at the head; None if there is none."""
    head = body.points[HEAD, :2]
    low, high = head.min(axis=0), head.max(axis=0)
    centre = (low + high) / 2
    shoulders = float(np.linalg.norm(body.place("left_shoulder") - body.place("right_shoulder")))
    region = Region(float(centre[0]), float(centre[1]), 3 * float(max(*(high - low), 0.35 * shoulders)))
    height, width = picture.shape[:2]
    if not region.usable(width, height):
        return None
    boxes = FACE_BOX.find(run, picture, region)
    if not boxes:
        return None
    box = min(boxes, key=lambda found: float(np.linalg.norm(found.centre - centre)))
    return grown(box.centre, box.size, turn(box.keypoints[0], box.keypoints[1], RIGHT), 1.5, 0)


def _expected_region(body: Body) -> Region:
    """Return where the pose network's points of the head say that the face is."""
    angle = turn(body.place("right_eye"), body.place("left_eye"), RIGHT)
    return region_around(body.points[HEAD, :2], angle, 2.25)


# The mesh points that each of the network's refined outputs replaces.
LIPS: tuple[int, ...] = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409, 78, 95, 88, 178, 87,
    14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415, 76, 77, 90, 180, 85, 16, 315, 404, 320, 307,
    306, 184, 74, 73, 72, 11, 302, 303, 304, 408, 62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292, 183, 42, 41, 38,
    12, 268, 271, 272, 407,
)  # fmt: skip
EYE_LEFT_IN_PICTURE: tuple[int, ...] = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173, 130, 25, 110, 24, 23, 22, 26, 112,
    243, 247, 30, 29, 27, 28, 56, 190, 226, 31, 228, 229, 230, 231, 232, 233, 244, 113, 225, 224, 223, 222, 221, 189,
    35, 124, 46, 53, 52, 65, 143, 111, 117, 118, 119, 120, 121, 128, 245, 156, 70, 63, 105, 66, 107, 55, 193,
)  # fmt: skip
EYE_RIGHT_IN_PICTURE: tuple[int, ...] = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398, 359, 255, 339, 254, 253, 252, 256,
    341, 463, 467, 260, 259, 257, 258, 286, 414, 446, 261, 448, 449, 450, 451, 452, 453, 464, 342, 445, 444, 443, 442,
    441, 413, 265, 353, 276, 283, 282, 295, 372, 340, 346, 347, 348, 349, 350, 357, 465, 383, 300, 293, 334, 296, 336,
    285, 417,
)  # fmt: skip
