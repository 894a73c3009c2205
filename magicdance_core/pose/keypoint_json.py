"""Keypoints as JSON: ComfyUI's POSE_KEYPOINT, as its many authors write it, and OpenPose's own files."""

import numpy as np

from ..errors import InputError
from ..limits import MAX_PEOPLE, check_size
from .face_order import number_landmarks
from .keypoints import PARTS, Person, PoseFrame

_JSON_KEYS = {
    "body": "pose_keypoints_2d",
    "left_hand": "hand_left_keypoints_2d",
    "right_hand": "hand_right_keypoints_2d",
    "face": "face_keypoints_2d",
    "feet": "foot_keypoints_2d",
}
# What the units of a frame that we wrote are, lest a person within two pixels of the corner be taken for normalised.
_UNITS_KEY, _PIXELS = "coordinates", "pixels"
_RIGHT_WRIST, _LEFT_WRIST = 4, 7
# Normalised coordinates may leave the picture a little, and no person in pixels is this small.
_NORMALISED_BELOW = 2.0
# Where comfyui_controlnet_aux's OpenPose puts a hand point that it has not found, in pixels.
_ABSENT, _ABSENT_WITHIN = -1.0, 1e-3
_WITHOUT_PUPILS = 68


def frames_from_pose_keypoint(data) -> list[PoseFrame]:
    """Pose frames of a POSE_KEYPOINT object or OpenPose JSON: a dict a frame, alone or in a list.

    A frame needs `people` (None: nobody), `canvas_width` and `canvas_height`; a frame of None is an empty one on the
    canvas of its neighbour. A person's parts are flat lists of x, y, confidence; None or a missing key means a missing
    part, a value that is not finite a missing point. Each part may be in pixels or in fractions of the canvas.
    `person_id` is the identity where it is not negative.
    Habits of others are understood: comfyui_controlnet_aux's OpenPose puts missing hand points to (-1, -1) pixels and
    leaves missing landmarks out of a face or adds a 71st, of the background; ComfyUI's SDPose exchanges the hands.
    Raises InputError where the data has another form.
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
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} of the pose keypoints has a canvas size that is not a number.") from None
    check_size(width, height, f"The canvas of {name.lower()} of the pose keypoints")
    people = () if entry["people"] is None else entry["people"]
    if not isinstance(people, (list, tuple)) or not all(isinstance(p, dict) for p in people):
        raise InputError(f"{name} of the pose keypoints has 'people' that is not a list of dicts.")
    if len(people) > MAX_PEOPLE:
        raise InputError(f"{name} of the pose keypoints has {len(people)} people; at most {MAX_PEOPLE} will do.")
    canvas = None if entry.get(_UNITS_KEY) == _PIXELS else (width, height)
    made = [person_from_dict(p, canvas, f"{name}, person {number}") for number, p in enumerate(people)]
    try:
        return PoseFrame(tuple(made), width, height)
    except InputError as error:
        raise InputError(f"{name} of the pose keypoints: {error}") from error


def person_from_dict(entry: dict, canvas: tuple[int, int] | None, name: str) -> Person:
    """The person of a dict with flat lists, whoever wrote it.

    canvas: width and height in pixels, for parts that look normalised; None where `person_to_dict` wrote the dict.
    Raises InputError, `name` being who it is about, where a list has another form.
    """
    parts = {part: _part(entry.get(key), part, f"{name}: {key}") for part, key in _JSON_KEYS.items()}
    if canvas is not None:
        _in_pixels(parts, canvas)
        for hand in ("left_hand", "right_hand"):
            parts[hand][np.abs(parts[hand][:, :2] - _ABSENT).max(axis=1) < _ABSENT_WITHIN] = 0
        if _exchanged(**parts):
            parts["left_hand"], parts["right_hand"] = parts["right_hand"], parts["left_hand"]
    if len(parts["face"]) < PARTS["face"]:
        parts["face"] = number_landmarks(parts["face"][parts["face"][:, 2] > 0])
    return Person(**parts, identity=_identity(entry.get("person_id")))


def _in_pixels(parts: dict[str, np.ndarray], canvas: tuple[int, int]) -> None:
    for points in parts.values():
        if np.abs(points[:, :2]).max(initial=0) <= _NORMALISED_BELOW:
            points[:, :2] *= canvas


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
    return value if isinstance(value, int) and 0 <= value < 2**63 else None


def _part(values, part: str, name: str) -> np.ndarray:
    """Points [n, 3] as they stand in a list: n is the part's, but for a face whose missing landmarks were left out."""
    count = PARTS[part]
    try:
        points = np.array([] if values is None else values, dtype=np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is not a flat list of x, y, confidence.") from None
    if len(points) == 0:
        return np.zeros((count, 3), np.float32)
    if part == "face" and len(points) == _WITHOUT_PUPILS:
        points = np.concatenate([points, np.zeros((2, 3), np.float32)])
    if part == "face" and len(points) == count + 1:  # the last is of the background
        points = points[:count]
    if len(points) > count or (len(points) < count and part != "face"):
        raise InputError(f"{name} has {len(points)} points; it has to have {count}.")
    points[~np.isfinite(points).all(axis=1) | (points[:, 2] <= 0)] = 0
    if np.abs(points).max() > np.finfo(np.float32).max:
        raise InputError(f"{name} has a number that is out of all bounds; give coordinates in pixels of the canvas.")
    return points.astype(np.float32)


_BODY_KEY, _FEET_KEY = "pose_keypoints_2d", "foot_keypoints_2d"

# Of BODY_25: the 18 body points in COCO order, the middle of the hips, and the feet in our order.
_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_FEET_25 = slice(19, 25)


def is_openpose_json(data) -> bool:
    """Whether data is a frame as OpenPose writes it: people, but no canvas."""
    return isinstance(data, dict) and "people" in data and "canvas_width" not in data


def frame_from_openpose_json(data: dict, width: int, height: int) -> PoseFrame:
    """The pose frame of a file that OpenPose wrote for a picture of `width` x `height` pixels.

    The body may have 18 or 25 points; BODY_25's middle of the hips is dropped, its feet are kept. Coordinates are in
    pixels, or in fractions of the picture (--keypoint_scale 3), decided for each part.
    Source: OpenPose's doc/02_output.md. Raises InputError where the data has another form.
    """
    people = data.get("people") if isinstance(data, dict) else None
    if not isinstance(people, (list, tuple)) or not all(isinstance(entry, dict) for entry in people):
        raise InputError("OpenPose JSON has a list 'people' with one dict a person; give a file that OpenPose wrote.")
    if len(people) > MAX_PEOPLE:
        raise InputError(f"The frame has {len(people)} people; at most {MAX_PEOPLE} will do.")
    made = [person_from_dict(_as_body_18(p), (width, height), f"Person {number}") for number, p in enumerate(people)]
    return PoseFrame(tuple(made), width, height)


def _as_body_18(entry: dict) -> dict:
    values = entry.get(_BODY_KEY)
    if not isinstance(values, (list, tuple)) or len(values) != 75:
        return entry
    points = [values[3 * i : 3 * i + 3] for i in range(25)]
    body, feet = [points[i] for i in _BODY_25], points[_FEET_25]
    return entry | {_BODY_KEY: sum(body, []), _FEET_KEY: sum(feet, [])}
