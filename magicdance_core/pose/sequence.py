"""One person through time as one array: what filling, smoothing and retargeting compute with."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from .keypoints import PARTS, Person, PoseFrame

_ENDS = np.cumsum(list(PARTS.values())).tolist()
SLICES = {part: slice(end - count, end) for (part, count), end in zip(PARTS.items(), _ENDS)}
POINTS = _ENDS[-1]


def person_points(person: Person | None) -> np.ndarray:
    """All points of a person: float32 [136, 3], in the order of SLICES; zeros for None."""
    if person is None:
        return np.zeros((POINTS, 3), np.float32)
    return np.concatenate([getattr(person, part) for part in PARTS])


def people_points(people: Sequence[Person | None]) -> np.ndarray:
    """`person_points` of many: float32 [N, 136, 3]."""
    points = np.zeros((len(people), POINTS, 3), np.float32)
    for row, person in zip(points, people):
        row[:] = person_points(person)
    return points


def points_person(points: np.ndarray, identity: int | None = None) -> Person:
    """The person of points [136, 3]."""
    return Person(**{part: points[where] for part, where in SLICES.items()}, identity=identity)


def frames_to_points(frames: Sequence[PoseFrame]) -> np.ndarray:
    """float32 [F, 136, 3]: x, y in pixels, confidence; zeros where a frame is empty.

    Raises InputError where a frame has several people or the canvas changes.
    """
    for number, frame in enumerate(frames):
        if len(frame.people) > 1:
            raise InputError(f"Frame {number} has {len(frame.people)} people; choose one person first.")
        if (frame.width, frame.height) != (frames[0].width, frames[0].height):
            raise InputError(f"Frame {number} has a canvas of another size; scale the frames to one size first.")
    return people_points([frame.people[0] if frame.people else None for frame in frames])


def points_to_frames(points: np.ndarray, width: int, height: int, identity: int | None = None) -> list[PoseFrame]:
    """The inverse of `frames_to_points`; a frame without any point is empty."""
    return [
        PoseFrame((points_person(row, identity),) if row[:, 2].any() else (), width, height)
        for row in np.asarray(points, np.float32)
    ]


def per_person(frames: Sequence[PoseFrame], change) -> list[PoseFrame]:
    """Apply `change(points [F, 136, 3]) -> points` to each person through all frames, on frames of one canvas size.

    People with an identity are followed by it, others by their place in their frame's list. Someone who has no point
    left is left out.
    """
    keys = [[(p.identity, i if p.identity is None else 0) for i, p in enumerate(f.people)] for f in frames]
    people = list(dict.fromkeys(key for row in keys for key in row))
    made: list[list[Person]] = [[] for _ in frames]
    for key in people:
        own = [_only(frame, row, key) for frame, row in zip(frames, keys)]
        points = change(frames_to_points(own))
        for people_here, row in zip(made, points):
            if row[:, 2].any():
                people_here.append(points_person(row, key[0]))
    return [replace(frame, people=tuple(row)) for frame, row in zip(frames, made)]


def _only(frame: PoseFrame, keys: list, key) -> PoseFrame:
    return replace(frame, people=tuple(p for p, k in zip(frame.people, keys) if k == key))
