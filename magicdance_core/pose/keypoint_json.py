"""Convert keypoints from and to JSON: ComfyUI's POSE_KEYPOINT, as various packs write it, and OpenPose's own files."""

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
# Marks frames that we wrote, so that a person within two pixels of the corner is not taken for normalised.
_UNITS_KEY, _PIXELS = "coordinates", "pixels"
_RIGHT_WRIST, _LEFT_WRIST = 4, 7
# Normalised coordinates may lie slightly outside the picture, and no person is this small in pixels.
_NORMALISED_BELOW = 2.0
# Where comfyui_controlnet_aux's OpenPose puts a missing hand point, in pixels.
_MISSING, _MISSING_TOLERANCE = -1.0, 1e-3
_WITHOUT_PUPILS = 68


def frames_from_pose_keypoint(data) -> list[PoseFrame]:
    """Return the pose frames of a POSE_KEYPOINT object: one dict per frame, alone or in a list.

    A frame needs `people` (None: nobody), `canvas_width` and `canvas_height`; None stands for an empty frame on the
    canvas of its neighbour. The parts of a person are flat lists of x, y, confidence: None or a missing key means a
    missing part, a value that is not finite a missing point. Each part may be in pixels or in fractions of the canvas.
    A `person_id` that is not negative becomes the identity.
    Quirks of other packs are handled: comfyui_controlnet_aux's OpenPose puts missing hand points at (-1, -1) pixels
    and omits missing face landmarks or adds a 71st for the background; ComfyUI's SDPose swaps the hands.
    Raises InputError if the data has another form.
    """
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, (list, tuple)):
        raise InputError(f"The pose keypoints are {type(data).__name__}: give a list with one dict per frame.")
    frames = [None if entry is None else _frame(entry, f"Frame {index}") for index, entry in enumerate(data)]
    if not frames:
        return []
    canvas = next((frame for frame in frames if frame), None)
    if canvas is None:
        raise InputError("None of the pose frames has a canvas size: give canvas_width and canvas_height.")
    filled = []
    for frame in frames:
        canvas = frame or PoseFrame((), canvas.width, canvas.height)
        filled.append(canvas)
    return filled


def frames_to_pose_keypoint(frames) -> list[dict]:
    """Return a POSE_KEYPOINT object: one dict per frame, coordinates in pixels, missing points as zeros.

    Confidences are written as they are; some packs drop every point below 1. Feet and `person_id` are written if there
    are any. `frames_from_pose_keypoint` returns the same frames.
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
    """Return a person as in OpenPose's JSON with a body of 18 points: flat lists of x, y, confidence, in pixels."""
    entry = {key: getattr(person, part).flatten().tolist() for part, key in _JSON_KEYS.items()}
    if not person.feet.any():
        del entry[_JSON_KEYS["feet"]]
    if person.identity is not None:
        entry["person_id"] = [person.identity]
    return entry


def _frame(entry, name: str) -> PoseFrame:
    if not isinstance(entry, dict):
        raise InputError(f"{name} of the pose keypoints is {type(entry).__name__}: give a dict.")
    for key in ("people", "canvas_width", "canvas_height"):
        if key not in entry:
            raise InputError(
                f"{name} of the pose keypoints lacks {key!r}: give people, canvas_width and canvas_height."
            )
    try:
        width, height = int(entry["canvas_width"]), int(entry["canvas_height"])
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} of the pose keypoints has a canvas size that is not a number: give pixels.") from None
    check_size(width, height, f"The canvas of {name.lower()} of the pose keypoints")
    people = () if entry["people"] is None else entry["people"]
    if not isinstance(people, (list, tuple)) or not all(isinstance(p, dict) for p in people):
        raise InputError(
            f"{name} of the pose keypoints has 'people' that is not a list of dicts: give one dict per person."
        )
    if len(people) > MAX_PEOPLE:
        raise InputError(f"{name} of the pose keypoints has {len(people)} people: give at most {MAX_PEOPLE}.")
    canvas = None if entry.get(_UNITS_KEY) == _PIXELS else (width, height)
    made = [person_from_dict(p, canvas, f"{name}, person {number}") for number, p in enumerate(people)]
    try:
        return PoseFrame(tuple(made), width, height)
    except InputError as error:
        raise InputError(f"{name} of the pose keypoints: {error}") from error


def person_from_dict(entry: dict, canvas: tuple[int, int] | None, name: str) -> Person:
    """Return the person of a dict with flat lists, whichever program wrote it.

    canvas: width and height in pixels, for parts that look normalised; None if `person_to_dict` wrote the dict.
    name: of the person, in messages. Raises InputError if a list has another form.
    """
    parts = {part: _part(entry.get(key), part, f"{name}: {key}") for part, key in _JSON_KEYS.items()}
    if canvas is not None:
        _scale_normalised(parts, canvas)
        for hand in ("left_hand", "right_hand"):
            parts[hand][np.abs(parts[hand][:, :2] - _MISSING).max(axis=1) < _MISSING_TOLERANCE] = 0
        if _are_hands_swapped(**parts):
            parts["left_hand"], parts["right_hand"] = parts["right_hand"], parts["left_hand"]
    if len(parts["face"]) < PARTS["face"]:
        parts["face"] = number_landmarks(parts["face"][parts["face"][:, 2] > 0])
    return Person(**parts, identity=_identity(entry.get("person_id")))


def _scale_normalised(parts: dict[str, np.ndarray], canvas: tuple[int, int]) -> None:
    for points in parts.values():
        if np.abs(points[:, :2]).max(initial=0) <= _NORMALISED_BELOW:
            points[:, :2] *= canvas


def _are_hands_swapped(body: np.ndarray, left_hand: np.ndarray, right_hand: np.ndarray, **others: np.ndarray) -> bool:
    """Return whether each hand begins much nearer to the other wrist than to its own."""
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
    """Return the points [n, 3] of a flat list; a face may have fewer than 70, without its missing landmarks."""
    count = PARTS[part]
    try:
        points = np.array([] if values is None else values, dtype=np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is not a flat list of numbers: give x, y, confidence of each point.") from None
    if len(points) == 0:
        return np.zeros((count, 3), np.float32)
    if part == "face" and len(points) == _WITHOUT_PUPILS:
        points = np.concatenate([points, np.zeros((2, 3), np.float32)])
    if part == "face" and len(points) == count + 1:  # the last stands for the background
        points = points[:count]
    if len(points) > count or (len(points) < count and part != "face"):
        raise InputError(f"{name} has {len(points)} points: give {count}.")
    points[~np.isfinite(points).all(axis=1) | (points[:, 2] <= 0)] = 0
    if np.abs(points).max() > np.finfo(np.float32).max:
        raise InputError(f"{name} has a number that is too large: give coordinates in pixels of the canvas.")
    return points.astype(np.float32)


_BODY_KEY, _FEET_KEY = "pose_keypoints_2d", "foot_keypoints_2d"

# Rows of BODY_25: the 18 body points in COCO order, without the middle of the hips, and the feet in our order.
_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_FEET_25 = slice(19, 25)


def is_openpose_json(data) -> bool:
    """Return whether data is a frame as OpenPose writes it: people, but no canvas size."""
    return isinstance(data, dict) and "people" in data and "canvas_width" not in data


def frame_from_openpose_json(data: dict, width: int, height: int) -> PoseFrame:
    """Return the pose frame of a file that OpenPose wrote for a picture of `width` x `height` pixels.

    The body may have 18 or 25 points; the middle of the hips of BODY_25 is dropped, the feet are kept. Each part is in
    pixels or in fractions of the picture (--keypoint_scale 3).
    Source: OpenPose's doc/02_output.md. Raises InputError if the data has another form.
    """
    people = data.get("people") if isinstance(data, dict) else None
    if not isinstance(people, (list, tuple)) or not all(isinstance(entry, dict) for entry in people):
        raise InputError("The data has no list 'people' with one dict per person: give a file that OpenPose wrote.")
    if len(people) > MAX_PEOPLE:
        raise InputError(f"The frame has {len(people)} people: give at most {MAX_PEOPLE}.")
    made = [person_from_dict(_as_body_18(p), (width, height), f"Person {number}") for number, p in enumerate(people)]
    return PoseFrame(tuple(made), width, height)


def _as_body_18(entry: dict) -> dict:
    values = entry.get(_BODY_KEY)
    if not isinstance(values, (list, tuple)) or len(values) != 75:
        return entry
    points = [values[3 * i : 3 * i + 3] for i in range(25)]
    body, feet = [points[i] for i in _BODY_25], points[_FEET_25]
    return entry | {_BODY_KEY: sum(body, []), _FEET_KEY: sum(feet, [])}
