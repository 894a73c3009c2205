"""Square crops around faces: where they are, steady through time, and the keypoints in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..limits import MAX_CANVASES
from .keypoints import PARTS, Person, PoseFrame

# The side of a crop is twice the longer side of the box around the landmarks, which leaves room for hair and ears; its
# centre is raised, for hair is above the brows. Models that are trained on close-ups see them in this scale.
SIDE, RAISED = 2.0, 0.12
MIN_LANDMARKS = 35  # of 70: half a face
MIN_FACE = 8  # pixels of the landmarks' box; a latent
NECK, NOSE, EYES = 1, 0, (14, 15)
MAX_GAP = 8  # frames without the face within a track
SMOOTHING = 2.0  # standard deviation in frames
KEPT = 0.7  # part of an unsmoothed crop, around its centre, that the smoothed one contains: from hair to chin


@dataclass(frozen=True)
class Crop:
    """A square of a frame in pixels, at any position, even partly outside: left, top and side."""

    left: float
    top: float
    side: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.left + self.side, self.top + self.side

    def scaled(self, factor: float) -> Crop:
        """Return the same square of a frame that is `factor` times as large."""
        return Crop(self.left * factor, self.top * factor, self.side * factor)


@dataclass(frozen=True)
class FaceTrack:
    """The face of one person for some time: the frames that show it, in order, and its crops there.

    person: a key that tells people apart, see `face_tracks`.
    """

    person: tuple[int | None, int]
    frames: tuple[int, ...]
    crops: tuple[Crop, ...]


def face_crop(person: Person) -> Crop | None:
    """Return the crop around a person's face; None for one that is not shown, turned away, or below MIN_FACE."""
    visible = person.face[:, 2] > 0
    turned_away = person.body[NECK, 2] > 0 and not (person.body[[NOSE, *EYES], 2] > 0).any()
    if turned_away or visible.sum() < MIN_LANDMARKS:
        return None
    low, high = person.face[visible, :2].min(axis=0), person.face[visible, :2].max(axis=0)
    longer = float((high - low).max())
    if longer < MIN_FACE:
        return None
    side = SIDE * longer
    (x, y) = ((low + high) / 2 - (0, RAISED * longer)).tolist()
    return Crop(x - side / 2, y - side / 2, side)


def face_tracks(frames: Sequence[PoseFrame]) -> list[FaceTrack]:
    """Return the faces of everybody in frames of one canvas size, with crops that move steadily; a track for each time
    that a face is shown, with gaps of at most MAX_GAP frames.

    People are matched across frames by identity, or by their position in the frame's list if they have none.
    """
    found: dict[tuple[int | None, int], dict[int, Crop]] = {}
    for number, frame in enumerate(frames):
        for place, person in enumerate(frame.people):
            crop = face_crop(person)
            if crop is not None and _is_inside(crop, frame):
                found.setdefault(_key(person, place), {})[number] = crop
    tracks = []
    for key, crops in found.items():
        numbers = np.array(list(crops))
        for run in np.split(numbers, np.flatnonzero(np.diff(numbers) > MAX_GAP + 1) + 1):
            frames_of_run = tuple(run.tolist())
            tracks.append(FaceTrack(key, frames_of_run, _steady([crops[number] for number in frames_of_run])))
    return tracks


def same_person(track: FaceTrack, first: PoseFrame, reference: PoseFrame) -> Person | None:
    """Return whose face in the reference belongs to a track; None if the reference shows no face.

    first: the first frame of the track. It is the person of the same identity, else the one whose face is nearest, in
    fractions of the canvas.
    """
    faces = [(person, crop) for person in reference.people if (crop := face_crop(person)) is not None]
    for person, _ in faces:
        if person.identity is not None and person.identity == track.person[0]:
            return person
    here = _centre(track.crops[0], first)
    nearest = min(faces, key=lambda face: abs(_centre(face[1], reference) - here), default=(None, None))
    return nearest[0]


def crop_keypoints(frame: PoseFrame, box: tuple[float, float, float, float], width: int, height: int) -> PoseFrame:
    """Return everybody in a box (left, top, right, bottom) of a frame that is resized to `width` x `height` pixels.

    Limbs continue outside of it; points farther away than limits.MAX_CANVASES are left out.
    """
    left, top, right, bottom = box
    scale = np.array([width / (right - left), height / (bottom - top)], np.float32)
    offset, farthest = np.array([left, top], np.float32), MAX_CANVASES * max(width, height)
    people = []
    for person in frame.people:
        parts = {}
        for part in PARTS:
            points = getattr(person, part).copy()
            points[:, :2] = (points[:, :2] - offset) * scale
            points[(points[:, 2] <= 0) | (np.abs(points[:, :2]).max(axis=1) > farthest)] = 0
            parts[part] = points
        people.append(replace(person, **parts))
    return PoseFrame(tuple(people), width, height)


def _key(person: Person, place: int) -> tuple[int | None, int]:
    return person.identity, place if person.identity is None else 0


def _is_inside(crop: Crop, frame: PoseFrame) -> bool:
    """Return whether the centre of the face is in the picture."""
    x, y = crop.left + crop.side / 2, crop.top + crop.side / 2
    return 0 <= x < frame.width and 0 <= y < frame.height


def _centre(crop: Crop, frame: PoseFrame) -> complex:
    return complex((crop.left + crop.side / 2) / frame.width, (crop.top + crop.side / 2) / frame.height)


def _steady(crops: Sequence[Crop]) -> tuple[Crop, ...]:
    """Return crops with smoothed centres and sides, none of which cuts the head."""
    from scipy.ndimage import gaussian_filter1d, maximum_filter1d

    rows = np.array([(crop.left + crop.side / 2, crop.top + crop.side / 2, crop.side) for crop in crops])
    widest = maximum_filter1d(rows[:, 2], 1 + 2 * round(2 * SMOOTHING), mode="nearest")
    sides = gaussian_filter1d(widest, SMOOTHING, mode="nearest")
    centres = gaussian_filter1d(rows[:, :2], SMOOTHING, axis=0, mode="nearest")
    slack = np.maximum(sides - KEPT * rows[:, 2], 0)[:, None] / 2
    centres = np.clip(centres, rows[:, :2] - slack, rows[:, :2] + slack)
    return tuple(Crop(x - side / 2, y - side / 2, side) for (x, y), side in zip(centres.tolist(), sides.tolist()))
