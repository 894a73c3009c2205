"""OpenPose's own JSON: a file a frame, people without a canvas, BODY_18 (COCO) or BODY_25."""

import numpy as np

from ..errors import InputError
from ..limits import MAX_PEOPLE
from .keypoints import PoseFrame
from .pose_keypoint import person_from_dict, person_to_dict

VERSION = 1.3
_BODY_KEY, _FEET_KEY = "pose_keypoints_2d", "foot_keypoints_2d"

# Of BODY_25: the 18 body points in COCO order, the middle of the hips, and the feet in our order.
_BODY_25 = (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18)
_MIDDLE_HIP = 8
_FEET_25 = slice(19, 25)
_HIPS = (8, 11)


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


def frame_to_openpose_json(frame: PoseFrame, body: int = 25) -> dict:
    """What OpenPose would write for the frame, in pixels; `frame_from_openpose_json` gives the same frame back.

    body: 18 (the feet go in a list of their own) or 25 (the middle of the hips is computed).
    """
    if body not in (18, 25):
        raise InputError(f"OpenPose has no body of {body} points; choose 18 or 25.")
    people = []
    for person in frame.people:
        entry = {"person_id": [-1], **person_to_dict(person)}
        if body == 25:
            entry.pop(_FEET_KEY, None)
            entry[_BODY_KEY] = _body_25(person.body, person.feet).flatten().tolist()
        people.append(entry)
    return {"version": VERSION, "people": people}


def _as_body_18(entry: dict) -> dict:
    values = entry.get(_BODY_KEY)
    if not isinstance(values, (list, tuple)) or len(values) != 75:
        return entry
    points = [values[3 * i : 3 * i + 3] for i in range(25)]
    body, feet = [points[i] for i in _BODY_25], points[_FEET_25]
    return entry | {_BODY_KEY: sum(body, []), _FEET_KEY: sum(feet, [])}


def _body_25(body: np.ndarray, feet: np.ndarray) -> np.ndarray:
    points = np.zeros((25, 3), np.float32)
    points[list(_BODY_25)] = body
    points[_FEET_25] = feet
    points[_MIDDLE_HIP] = middle(body[_HIPS[0]], body[_HIPS[1]])
    return points


def middle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The point midway between two, with the lower confidence; missing where either is."""
    confidence = min(a[2], b[2])
    return np.array([*(a[:2] + b[:2]) / 2, confidence], np.float32) if confidence > 0 else np.zeros(3, np.float32)
