"""People as keypoints, and their keypoints as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import InputError
from ..limits import MAX_CANVASES, MAX_PEOPLE, check_size

PARTS = {"body": 18, "left_hand": 21, "right_hand": 21, "face": 70, "feet": 6}


def _missing(part: str):
    return field(default_factory=lambda: np.zeros((PARTS[part], 3), np.float32))


@dataclass(frozen=True, eq=False)
class Person:
    """Keypoints of one person: rows of (x, y, confidence), float32.

    x and y are in pixels of the canvas, (0, 0) is its top left corner. Confidence is in [0, 1]; 0 marks a missing
    point. A missing part is all zeros.

    body: [18, 3], OpenPose's COCO order: nose, neck, right shoulder, elbow, wrist, the same left, right hip, knee,
        ankle, the same left, right eye, left eye, right ear, left ear.
    left_hand, right_hand: [21, 3], OpenPose's order: wrist, then four joints a finger from the thumb on.
    face: [70, 3], the 68 iBUG landmarks, then the right and the left pupil.
    feet: [6, 3], big toe, small toe and heel of the left foot, then of the right foot; not drawn in pose maps.
    identity: the person's track number, None if people are not tracked.

    Raises InputError if a part has another shape or a value is not finite.
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
            try:
                with np.errstate(over="ignore"):  # values beyond float32 become infinite
                    points = np.asarray(getattr(self, part), dtype=np.float32)
            except (TypeError, ValueError, OverflowError):
                raise InputError(
                    f"Person.{part} is not an array of numbers: give one of shape {list(shape)}."
                ) from None
            if points.shape != shape:
                raise InputError(f"Person.{part} has shape {list(points.shape)}: give an array of shape {list(shape)}.")
            if not np.isfinite(points).all():
                raise InputError(f"Person.{part} has values that are not finite: mark missing points with zeros.")
            object.__setattr__(self, part, points)


@dataclass(frozen=True, eq=False)
class PoseFrame:
    """The people of one frame, and the size in pixels of the canvas that their coordinates refer to.

    Raises InputError if a size is not positive or exceeds limits.py, `people` is not a tuple of at most MAX_PEOPLE
    Person, or a keypoint lies more than MAX_CANVASES times the longer side away.
    """

    people: tuple[Person, ...]
    width: int
    height: int

    def __post_init__(self):
        width, height = check_size(self.width, self.height, "A pose frame")
        if not isinstance(self.people, (list, tuple)) or not all(isinstance(person, Person) for person in self.people):
            raise InputError("PoseFrame.people is not a tuple of Person: give one.")
        if len(self.people) > MAX_PEOPLE:
            raise InputError(f"A pose frame has {len(self.people)} people: give at most {MAX_PEOPLE}.")
        for person in self.people:
            if not _is_near(person, width, height):
                raise InputError(
                    f"A pose frame of {width} x {height} pixels has a keypoint more than {MAX_CANVASES} times its "
                    "longer side away: give coordinates in pixels of the canvas."
                )
        for name, value in (("people", tuple(self.people)), ("width", width), ("height", height)):
            object.__setattr__(self, name, value)

    def scaled(self, width: int, height: int) -> PoseFrame:
        """Return the same people on a canvas of width x height pixels; each axis is scaled independently."""
        factors = np.array([width / self.width, height / self.height, 1], np.float32)
        people = [replace(p, **{part: getattr(p, part) * factors for part in PARTS}) for p in self.people]
        return PoseFrame(tuple(people), width, height)


def _is_near(person: Person, width: int, height: int) -> bool:
    farthest = MAX_CANVASES * max(width, height)
    return all(np.abs(getattr(person, part)[:, :2]).max() <= farthest for part in PARTS)


_ENDS = np.cumsum(list(PARTS.values())).tolist()
SLICES = {part: slice(end - count, end) for (part, count), end in zip(PARTS.items(), _ENDS)}
POINTS = _ENDS[-1]


def person_to_points(person: Person | None) -> np.ndarray:
    """Return all keypoints of a person, float32 [136, 3] in the order of SLICES; zeros for None."""
    if person is None:
        return np.zeros((POINTS, 3), np.float32)
    return np.concatenate([getattr(person, part) for part in PARTS])


def people_to_points(people: Sequence[Person | None]) -> np.ndarray:
    """Return the keypoints of several people, float32 [N, 136, 3]."""
    points = np.zeros((len(people), POINTS, 3), np.float32)
    for row, person in zip(points, people):
        row[:] = person_to_points(person)
    return points


def points_to_person(points: np.ndarray, identity: int | None = None) -> Person:
    """Return the Person of keypoints [136, 3]; the inverse of `person_to_points`."""
    return Person(**{part: points[where] for part, where in SLICES.items()}, identity=identity)


def frames_to_points(frames: Sequence[PoseFrame]) -> np.ndarray:
    """Return the keypoints of one person through time, float32 [F, 136, 3]; zeros where a frame is empty.

    Raises InputError if a frame has several people or the canvas size changes.
    """
    for number, frame in enumerate(frames):
        if len(frame.people) > 1:
            raise InputError(f"Frame {number} has {len(frame.people)} people: choose one person first.")
        if (frame.width, frame.height) != (frames[0].width, frames[0].height):
            raise InputError(f"Frame {number} has a canvas of another size: scale the frames to one size first.")
    return people_to_points([frame.people[0] if frame.people else None for frame in frames])


def points_to_frames(points: np.ndarray, width: int, height: int, identity: int | None = None) -> list[PoseFrame]:
    """Return a frame for each row of [F, 136, 3], empty for zeros; the inverse of `frames_to_points`."""
    return [
        PoseFrame((points_to_person(row, identity),) if row[:, 2].any() else (), width, height)
        for row in np.asarray(points, np.float32)
    ]


def apply_per_person(frames: Sequence[PoseFrame], change) -> list[PoseFrame]:
    """Apply `change(points [F, 136, 3]) -> points` to each person through all frames of one canvas size.

    People are matched across frames by identity, or by their position in the frame's list if they have none. A person
    without any keypoint left is dropped.
    """
    keys = [[(p.identity, i if p.identity is None else 0) for i, p in enumerate(f.people)] for f in frames]
    people = list(dict.fromkeys(key for row in keys for key in row))
    made: list[list[Person]] = [[] for _ in frames]
    for key in people:
        own = [_only(frame, row, key) for frame, row in zip(frames, keys)]
        points = change(frames_to_points(own))
        for people_here, row in zip(made, points):
            if row[:, 2].any():
                people_here.append(points_to_person(row, key[0]))
    return [replace(frame, people=tuple(row)) for frame, row in zip(frames, made)]


def people_apart(frames: Sequence[PoseFrame]) -> dict[int, list[PoseFrame]]:
    """Return the frames of each person alone, by identity; people without one count by their position in the list."""
    numbered = [
        replace(
            frame, people=tuple(replace(p, identity=i) if p.identity is None else p for i, p in enumerate(frame.people))
        )
        for frame in frames
    ]
    identities = dict.fromkeys(person.identity for frame in numbered for person in frame.people)
    return {
        identity: [
            replace(frame, people=tuple(p for p in frame.people if p.identity == identity)) for frame in numbered
        ]
        for identity in identities
        if identity is not None
    }


def combine_people(motions: Sequence[Sequence[PoseFrame]]) -> list[PoseFrame]:
    """Return the people of several motions in the same frames, numbered from 0; a shorter motion ends earlier.

    Raises InputError if the canvases differ in size.
    """
    sizes = dict.fromkeys((frame.width, frame.height) for frames in motions for frame in frames)
    if len(sizes) != 1:
        shown = " and ".join(f"{width} x {height}" for width, height in sizes) or "no size"
        raise InputError(f"The keypoints have canvases of {shown} pixels: give motions on one canvas.")
    (width, height), first = next(iter(sizes)), 0
    made: list[tuple[Person, ...]] = [() for _ in range(max(map(len, motions)))]
    for frames in motions:
        numbers = {identity: first + k for k, identity in enumerate(people_apart(frames))}
        for number, frame in enumerate(frames):
            people = (
                replace(person, identity=numbers[i if person.identity is None else person.identity])
                for i, person in enumerate(frame.people)
            )
            made[number] += tuple(people)
        first += len(numbers)
    return [PoseFrame(people, width, height) for people in made]


def _only(frame: PoseFrame, keys: list, key) -> PoseFrame:
    return replace(frame, people=tuple(p for p, k in zip(frame.people, keys) if k == key))
