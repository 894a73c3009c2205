"""Convert keypoints from and to JSON: ComfyUI's POSE_KEYPOINT, as various packs write it, and OpenPose's own files."""

from dataclasses import dataclass

import numpy as np

from ..checks import number
from ..choices import FOREIGN_THRESHOLD
from ..errors import InputError
from ..limits import MAX_PEOPLE, check_size
from .body_layouts import WHOLE_BODY, WHOLE_BODY_PARTS, to_body_and_feet, votes_for_body_25
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
_BODY_KEY = _JSON_KEYS["body"]
_RIGHT_WRIST, _LEFT_WRIST = 4, 7
# What people's keypoints are called in the files of other programs.
_OTHER_PROGRAMS = {"keypoints": "AlphaPose or COCO results", "instance_info": "MMPose", "instances": "MMPose"}
# Normalised coordinates may lie slightly outside the picture, and no person is this small in pixels.
_NORMALISED_BELOW = 2.0
# Coordinates from -1 to 1: more of them are negative than of anybody who leaves a picture.
_CENTRED_BELOW, _CENTRED_SHARE = 1.5, 0.25
# Where comfyui_controlnet_aux's OpenPose puts a missing hand point, in pixels.
_MISSING, _MISSING_TOLERANCE = -1.0, 1e-3
_WITHOUT_PUPILS = 68


@dataclass
class Origin:
    """What is known of the keypoints of a file as a whole.

    threshold: points of foreign origin with a lower score are dropped. is_body_25: what 25 body points are. centred:
    whether normalised coordinates reach from -1 to 1, not from 0 to 1. dropped, total: foreign points with a score so
    far, filled in while reading.
    """

    threshold: float = FOREIGN_THRESHOLD
    is_body_25: bool = True
    centred: bool = False
    dropped: int = 0
    total: int = 0


def frames_from_pose_keypoint(
    data,
    width: int | None = None,
    height: int | None = None,
    threshold: float = FOREIGN_THRESHOLD,
    origin: Origin | None = None,
) -> list[PoseFrame]:
    """Return the pose frames of a POSE_KEYPOINT object or of OpenPose's JSON: one dict per frame, alone, in a list, or
    in a dict with `frames`.

    A frame needs `people` (None: nobody) and the size of its canvas in pixels: `canvas_width` and `canvas_height`, or
    `width` and `height`, beside the people or beside `frames`; else that of the arguments. None stands for an empty
    frame on the canvas of its neighbour. The parts of a person are flat lists of x, y, confidence: None or a missing
    key means a missing part, a value that is not finite a missing point. Bodies have 18 points or another layout of
    body_layouts.py. Each part may be in pixels, in fractions of the canvas, or from -1 to 1 across it. A `person_id`
    that is not negative becomes the identity.
    Quirks of other packs are handled: comfyui_controlnet_aux's OpenPose puts missing hand points at (-1, -1) pixels
    and omits missing face landmarks or adds a 71st for the background; ComfyUI's SDPose swaps the hands.
    threshold: points that other programs scored lower are missing; our own frames keep all. origin: filled in with what
    was found. Raises InputError if the data has another form.
    """
    size = None if width is None or height is None else (width, height)
    has_size = False
    if isinstance(data, dict) and isinstance(data.get("frames"), (list, tuple)):
        has_size, size, data = _canvas(data) is not None, _canvas(data) or size, data["frames"]
    if isinstance(data, dict):
        data = [data]
    if not isinstance(data, (list, tuple)):
        raise InputError(f"The pose keypoints are {type(data).__name__}: give a list with one dict per frame.")
    origin = origin or Origin()
    origin.threshold = number(float, threshold, "The lowest score", 0, 1)
    _find_layout(data, origin, has_size)
    frames = [None if entry is None else _frame(entry, f"Frame {i}", size, origin) for i, entry in enumerate(data)]
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


def _find_layout(data, origin: Origin, has_size: bool) -> None:
    """Find out from all people of all frames what 25 body points and small coordinates mean.

    has_size: whether the canvas size stands beside the frames. Files without any are OpenPose's, thus BODY_25.
    """
    votes, low, total = 0, 0, 0
    for entry in data:
        people = entry.get("people") if isinstance(entry, dict) and entry.get(_UNITS_KEY) != _PIXELS else None
        for person in people[:MAX_PEOPLE] if isinstance(people, (list, tuple)) else ():  # of more it is refused
            for key in _JSON_KEYS.values() if isinstance(person, dict) else ():
                points = _numbers(person.get(key))
                points = points[points[:, 2] > 0]
                if len(points) and np.abs(points[:, :2]).max() <= _CENTRED_BELOW:
                    low, total = low + int((points[:, :2] < 0).sum()), total + points[:, :2].size
            if isinstance(person, dict) and len(body := _numbers(person.get(_BODY_KEY))) == 25:
                votes += 0 if _canvas(entry) is None and not has_size else votes_for_body_25(body)
    origin.is_body_25 = votes >= 0
    origin.centred = low > _CENTRED_SHARE * total


def _numbers(values) -> np.ndarray:
    """Return the finite points [n, 3] of a flat list; none if it is something else."""
    try:
        points = np.asarray([] if values is None else values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        return np.zeros((0, 3))
    return np.where(np.isfinite(points).all(axis=1, keepdims=True), points, 0)


def _canvas(entry: dict) -> tuple[int, int] | None:
    """Return the canvas size that a dict states; None if it does not. Raises InputError if it is no size."""
    for prefix in ("canvas_", "", "image_"):
        if f"{prefix}width" in entry and f"{prefix}height" in entry:
            return entry[f"{prefix}width"], entry[f"{prefix}height"]
    return None


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


def _frame(entry, name: str, size: tuple[int, int] | None, origin: Origin) -> PoseFrame:
    """Return the frame of a dict. size: of its canvas, if it does not state it."""
    if not isinstance(entry, dict):
        raise InputError(f"{name} of the pose keypoints is {type(entry).__name__}: give a dict.")
    if "people" not in entry:
        known = next((program for key, program in _OTHER_PROGRAMS.items() if key in entry), None)
        of = f" (this is the format of {known})" if known else ""
        raise InputError(
            f"{name} of the pose keypoints lacks 'people'{of}: give people, canvas_width and canvas_height."
        )
    size = _canvas(entry) or size
    if size is None:
        raise InputError(
            f"{name} of the pose keypoints does not contain the size of its picture (canvas_width, canvas_height), as "
            "OpenPose's JSON: give its width and height (the extract command takes them and writes keypoints.npz)."
        )
    try:
        width, height = (int(side) for side in size)
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
    made = [person_from_dict(p, canvas, f"{name}, person {k}", origin) for k, p in enumerate(people)]
    if canvas is not None:  # other programs list people of whom nothing is above the threshold
        made = [person for person in made if any(getattr(person, part).any() for part in PARTS)]
    try:
        return PoseFrame(tuple(made), width, height)
    except InputError as error:
        raise InputError(f"{name} of the pose keypoints: {error}") from error


def person_from_dict(entry: dict, canvas: tuple[int, int] | None, name: str, origin: Origin | None = None) -> Person:
    """Return the person of a dict with flat lists, whichever program wrote it.

    canvas: width and height in pixels, for parts that look normalised; None if `person_to_dict` wrote the dict.
    name: of the person, in messages. Raises InputError if a list has another form.
    """
    origin = origin or Origin()
    if canvas is not None:
        entry = _with_our_body(entry, name, origin)
    parts = {part: _part(entry.get(key), part, f"{name}: {key}") for part, key in _JSON_KEYS.items()}
    if canvas is not None:
        _scale_normalised(parts, canvas, origin.centred)
        for hand in ("left_hand", "right_hand"):
            parts[hand][np.abs(parts[hand][:, :2] - _MISSING).max(axis=1) < _MISSING_TOLERANCE] = 0
        if _are_hands_swapped(**parts):
            parts["left_hand"], parts["right_hand"] = parts["right_hand"], parts["left_hand"]
    if len(parts["face"]) < PARTS["face"]:
        parts["face"] = number_landmarks(parts["face"][parts["face"][:, 2] > 0])
    if canvas is not None:
        for points in parts.values():
            low = (points[:, 2] > 0) & (points[:, 2] < origin.threshold)
            origin.dropped, origin.total = origin.dropped + int(low.sum()), origin.total + int((points[:, 2] > 0).sum())
            points[low] = 0
    return Person(**parts, identity=_identity(entry.get("person_id")))


def _with_our_body(entry: dict, name: str, origin: Origin) -> dict:
    """Return the dict of a person with 18 body points, and the feet, hands and face that its layout has as well."""
    points = _numbers(entry.get(_BODY_KEY))
    if len(points) in (0, PARTS["body"]):
        return entry
    body, feet = to_body_and_feet(points, origin.is_body_25, f"{name}: {_BODY_KEY}")
    found = {"feet": feet}
    if len(points) == WHOLE_BODY:
        found |= {part: points[rows] for part, rows in WHOLE_BODY_PARTS.items()}
    also = {_JSON_KEYS[part]: rows.flatten() for part, rows in found.items() if rows.any()}
    return entry | {_BODY_KEY: body.flatten()} | {key: rows for key, rows in also.items() if entry.get(key) is None}


def _scale_normalised(parts: dict[str, np.ndarray], canvas: tuple[int, int], centred: bool) -> None:
    for points in parts.values():
        if np.abs(points[:, :2]).max(initial=0) <= _NORMALISED_BELOW:
            seen = points[:, 2] > 0
            points[seen, :2] = ((points[seen, :2] + 1) / 2 if centred else points[seen, :2]) * canvas


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
