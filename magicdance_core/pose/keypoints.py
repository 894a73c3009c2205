"""People as keypoints, and ComfyUI's POSE_KEYPOINT / OpenPose JSON to and from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from .face_order import number_landmarks

PARTS = {"body": 18, "left_hand": 21, "right_hand": 21, "face": 70, "feet": 6}
_JSON_KEYS = {
    "body": "pose_keypoints_2d",
    "left_hand": "hand_left_keypoints_2d",
    "right_hand": "hand_right_keypoints_2d",
    "face": "face_keypoints_2d",
    "feet": "foot_keypoints_2d",
}
# What the units of a frame that we wrote are, lest a person within two pixels of the corner be taken for normalised.
_UNITS_KEY, _PIXELS = "coordinates", "pixels"
_OWN_UNITS = (1, 1)
_RIGHT_WRIST, _LEFT_WRIST = 4, 7
# Normalised coordinates may leave the picture a little, and no person in pixels is this small.
_NORMALISED_BELOW = 2.0


def _missing(part: str):
    return field(default_factory=lambda: np.zeros((PARTS[part], 3), np.float32))


@dataclass(frozen=True, eq=False)
class Person:
    """One person's keypoints: rows of (x, y, confidence), float32.

    x and y are in pixels of the canvas, the top left corner of the picture being (0, 0); confidence is in [0, 1],
    0 marks a missing point. A missing part is all zeros.

    body: [18, 3], OpenPose's COCO order: nose, neck, right shoulder, elbow, wrist, the same left, right hip, knee,
        ankle, the same left, right eye, left eye, right ear, left ear.
    left_hand, right_hand: [21, 3], OpenPose's order: wrist, then four joints a finger from the thumb on.
    face: [70, 3], the 68 iBUG landmarks, then the right and the left pupil.
    feet: [6, 3], big toe, small toe and heel of the left foot, then of the right one; not part of a pose map.
    identity: the person's number where somebody tracks people through frames, else None.

    Raises ValueError where a part has another shape or a value is not finite.
    """

    body: np.ndarray = _missing("body")
    left_hand: np.ndarray = _missing("left_hand")
    right_hand: np.ndarray = _missing("right_hand")
    face: np.ndarray = _missing("face")
    identity: int | None = None
    feet: np.ndarray = _missing("feet")

    def __post_init__(self):
        for part, count in PARTS.items():
            shape = (count, 3)
            points = np.asarray(getattr(self, part), dtype=np.float32)
            if points.shape != shape:
                raise InputError(f"Person.{part} has shape {list(points.shape)}; give an array of shape {list(shape)}.")
            if not np.isfinite(points).all():
                raise InputError(f"Person.{part} has values that are not finite; mark missing points with zeros.")
            object.__setattr__(self, part, points)


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """The people of one frame and the size in pixels of the canvas that their coordinates belong to.

    Raises ValueError where width or height is not positive.
    """

    people: tuple[Person, ...]
    width: int
    height: int

    def __post_init__(self):
        if self.width <= 0 or self.height <= 0:
            raise InputError(f"A pose frame of {self.width} x {self.height} pixels is empty; give positive sizes.")
        object.__setattr__(self, "people", tuple(self.people))

    def scaled(self, width: int, height: int) -> PoseFrame:
        """The same people on a canvas of width x height pixels; each axis is stretched on its own."""
        factors = np.array([width / self.width, height / self.height, 1], np.float32)
        people = [replace(p, **{part: getattr(p, part) * factors for part in PARTS}) for p in self.people]
        return PoseFrame(tuple(people), width, height)


def frames_from_pose_keypoint(data) -> list[PoseFrame]:
    """Pose frames of a POSE_KEYPOINT object or OpenPose JSON: a dict a frame, alone or in a list.

    A frame needs `people` (None: nobody), `canvas_width` and `canvas_height`; a frame of None is an empty one on the
    canvas of its neighbour. A person's parts are flat lists of x, y, confidence; None or a missing key means a missing
    part, a value that is not finite a missing point. Each part may be in pixels or in fractions of the canvas.
    `person_id` is the identity where it is not negative.
    Habits of others are understood: comfyui_controlnet_aux's OpenPose puts missing hand points to (-1, -1) pixels and
    leaves missing landmarks out of a face or adds a 71st, of the background; ComfyUI's SDPose exchanges the hands.
    Raises ValueError where the data has another form.
    """
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, (list, tuple)):
        raise InputError(f"Pose keypoints are a list with one dict a frame, not {type(data).__name__}.")
    frames = [None if entry is None else _frame(entry, f"Frame {index}") for index, entry in enumerate(data)]
    canvas = next((frame for frame in frames if frame), None)
    if canvas is None and frames:
        raise InputError("None of the pose frames says how large its canvas is; give canvas_width and canvas_height.")
    made = []
    for frame in frames:
        canvas = frame or canvas
        made.append(frame or PoseFrame((), canvas.width, canvas.height))
    return made


def frames_to_pose_keypoint(frames) -> list[dict]:
    """A POSE_KEYPOINT object: a dict a frame, coordinates in pixels, missing points as zeros.

    Confidences are kept; packs that drop every point below 1 want them rounded first. Feet and `person_id` are
    written where there are any. `frames_from_pose_keypoint` gives the same frames back.
    """
    return [
        {
            "people": [person_to_dict(person) for person in frame.people],
            "canvas_width": frame.width,
            "canvas_height": frame.height,
            _UNITS_KEY: _PIXELS,
        }
        for frame in frames
    ]


def person_to_dict(person: Person) -> dict:
    """A person as in OpenPose's JSON with BODY_18: flat lists of x, y, confidence, in pixels."""
    entry = {key: getattr(person, part).flatten().tolist() for part, key in _JSON_KEYS.items()}
    if not person.feet.any():
        del entry[_JSON_KEYS["feet"]]
    if person.identity is not None:
        entry["person_id"] = [person.identity]
    return entry


def _frame(entry, name: str) -> PoseFrame:
    if not isinstance(entry, dict):
        raise InputError(f"{name} of the pose keypoints is {type(entry).__name__}; it has to be a dict.")
    for key in ("people", "canvas_width", "canvas_height"):
        if key not in entry:
            raise InputError(f"{name} of the pose keypoints lacks {key!r}; give people, canvas_width, canvas_height.")
    try:
        width, height = int(entry["canvas_width"]), int(entry["canvas_height"])
    except (TypeError, ValueError):
        raise InputError(f"{name} of the pose keypoints has a canvas size that is not a number.") from None
    people = () if entry["people"] is None else entry["people"]
    if not isinstance(people, (list, tuple)) or not all(isinstance(p, dict) for p in people):
        raise InputError(f"{name} of the pose keypoints has 'people' that is not a list of dicts.")
    units = _OWN_UNITS if entry.get(_UNITS_KEY) == _PIXELS else (width, height)
    made = [person_from_dict(p, units, f"{name}, person {number}") for number, p in enumerate(people)]
    return PoseFrame(tuple(made), width, height)


def person_from_dict(entry: dict, units: tuple[float, float], name: str) -> Person:
    """The person of a dict with flat lists. units: pixels in 1 of x and y for parts that look normalised.

    Raises InputError, `name` being who it is about, where a list has another form.
    """
    parts = {part: _part(entry.get(key), part, units, name) for part, key in _JSON_KEYS.items()}
    if units != _OWN_UNITS and _exchanged(**parts):
        parts["left_hand"], parts["right_hand"] = parts["right_hand"], parts["left_hand"]
    return Person(**parts, identity=_identity(entry.get("person_id")))


def _exchanged(body: np.ndarray, left_hand: np.ndarray, right_hand: np.ndarray, **others: np.ndarray) -> bool:
    """Whether each hand begins at the other's wrist, much nearer than at its own."""
    points = np.stack([left_hand[0], right_hand[0], body[_LEFT_WRIST], body[_RIGHT_WRIST]])
    if not (points[:, 2] > 0).all():
        return False
    left, right, left_wrist, right_wrist = points[:, :2]
    as_named = min(np.linalg.norm(left - left_wrist), np.linalg.norm(right - right_wrist))
    return max(np.linalg.norm(left - right_wrist), np.linalg.norm(right - left_wrist)) < as_named / 4


def _identity(value) -> int | None:
    value = value[0] if isinstance(value, (list, tuple)) and value else value
    return value if isinstance(value, int) and value >= 0 else None


def _part(values, part: str, units: tuple[float, float], name: str) -> np.ndarray:
    count = PARTS[part]
    try:
        points = np.array([] if values is None else values, dtype=np.float32).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name}: {_JSON_KEYS[part]} is not a flat list of x, y, confidence.") from None
    if len(points) == 0:
        return np.zeros((count, 3), np.float32)
    if part == "face" and len(points) == 68:  # some detectors leave the pupils out
        points = np.concatenate([points, np.zeros((2, 3), np.float32)])
    if part == "face" and len(points) == count + 1:
        points = points[:count]
    if len(points) > count or len(points) < count and part != "face":
        raise InputError(f"{name}: {_JSON_KEYS[part]} has {len(points)} points; it has to have {count}.")
    points[~np.isfinite(points).all(axis=1) | (points[:, 2] <= 0)] = 0
    if np.abs(points[:, :2]).max() <= _NORMALISED_BELOW:
        points[:, :2] *= units
    if units != _OWN_UNITS and part.endswith("hand"):
        points[np.abs(points[:, :2] + 1).max(axis=1) < 1e-3] = 0
    return points if len(points) == count else number_landmarks(points[points[:, 2] > 0])
