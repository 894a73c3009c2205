"""MediaPipe's points of a person as a `Person`: OpenPose's body, hands, and the 68 face points with pupils."""

from __future__ import annotations

import numpy as np

from ..keypoints import Person
from .mediapipe_body import INDEX, Body
from .mediapipe_face import Face
from .mediapipe_hands import Hand

MIN_CONFIDENCE = 0.2
BLACK = 24  # the brightest value of the bars around a video, whose compression leaves noise
# Position of the nose tip between the mesh's points at the right and left ear, beyond which the far ear is hidden.
RIGHT_EAR_HIDDEN, LEFT_EAR_HIDDEN = 0.3, 0.7

# The points of Person.body but the neck, by name in `mediapipe_body`.
_BODY = {
    0: "nose", 2: "right_shoulder", 3: "right_elbow", 4: "right_wrist", 5: "left_shoulder", 6: "left_elbow",
    7: "left_wrist", 8: "right_hip", 9: "right_knee", 10: "right_ankle", 11: "left_hip", 12: "left_knee",
    13: "left_ankle", 14: "right_eye", 15: "left_eye", 16: "right_ear", 17: "left_ear",
}  # fmt: skip
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5
_NOSE_AND_EYES, _RIGHT_EAR, _LEFT_EAR = [0, 14, 15], 16, 17

# The mesh's points nearest to the 68 iBUG landmarks, then the pupils, right first.
FACE = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389, 70, 63, 105, 66, 55, 285, 296,
    334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305, 33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380, 61,
    39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87, 468, 473,
)  # fmt: skip
_MESH_NOSE, _MESH_RIGHT_EAR, _MESH_LEFT_EAR = 4, 234, 454


Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def shown_box(picture: np.ndarray) -> Box:
    """Return the part of a picture, uint8 [H, W, 3], within its black bars; the whole picture if all of it is black."""
    height, width = picture.shape[:2]
    bright = picture.max(axis=2) > BLACK
    columns, rows = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    if not len(rows):
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def make_person(body: Body, hands: dict[str, Hand | None], face: Face | None, box: Box) -> Person:
    """Return the person of a body, its hands and its face. box: the part of the picture that shows something.

    Points outside the box are missing, for the pose network guesses them there; and so are nose and eyes without a
    face, which it sees through the back of the head.
    """
    points = np.zeros((18, 3))
    numbers = [INDEX[name] for name in _BODY.values()]
    confidences = body.confidences[numbers]
    points[list(_BODY)] = np.column_stack([body.points[numbers, :2], confidences])
    points[points[:, 2] <= MIN_CONFIDENCE] = 0
    if face is None:
        points[_NOSE_AND_EYES] = 0
    else:
        points[hidden_ears(face)] = 0
    points = inside(points, box)
    shoulders = points[[_RIGHT_SHOULDER, _LEFT_SHOULDER]]
    if shoulders[:, 2].all():
        points[_NECK] = *shoulders[:, :2].mean(axis=0), shoulders[:, 2].min()
    parts = {}
    if face is not None:
        parts["face"] = inside(_with_confidence(face.points[list(FACE)], face.score), box)
    for side, hand in hands.items():
        if hand is not None:
            parts[f"{side}_hand"] = inside(_with_confidence(hand.points, hand.presence), box)
    return Person(points, **parts)


def hidden_ears(face: Face) -> list[int]:
    """Return the ear of Person.body, if any, that the turned head hides."""
    right, left, nose = (face.points[k] for k in (_MESH_RIGHT_EAR, _MESH_LEFT_EAR, _MESH_NOSE))
    across = left - right
    length = float(across @ across)
    place = float((nose - right) @ across) / length if length else 0.5
    return [_RIGHT_EAR] if place < RIGHT_EAR_HIDDEN else [_LEFT_EAR] if place > LEFT_EAR_HIDDEN else []


def inside(points: np.ndarray, box: Box) -> np.ndarray:
    """Return points [K, 3] with zeros for those outside the box."""
    within = (points[:, :2] >= box[:2]) & (points[:, :2] <= box[2:])
    return np.where(within.all(axis=1, keepdims=True), points, 0)


def _with_confidence(points: np.ndarray, confidence: float) -> np.ndarray:
    return np.column_stack([points, np.full(len(points), confidence)])
