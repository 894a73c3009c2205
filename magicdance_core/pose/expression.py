"""Change the expression of faces: offsets of landmarks that are added to what was detected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InputError
from ..schedules import Schedule, curve
from .keypoints import Person, PoseFrame

# Rows of the 70 landmarks; right and left are the person's. Lids and lips run from the picture's left to its right.
CHIN, JAW = 8, slice(0, 17)
BROWS = slice(17, 27)
EYES = (((36, 39), (37, 38), (41, 40)), ((42, 45), (43, 44), (47, 46)))  # corners, upper lid, lower lid of each
PUPILS = (68, 69)
UPPER_LIPS, LOWER_LIPS = (49, 50, 51, 52, 53, 61, 62, 63), (59, 58, 57, 56, 55, 67, 66, 65)
OUTER = (48, 54)  # corners of the mouth
MOUTH = slice(48, 68)
HEAD = (0, 14, 15, 16, 17)  # nose, eyes and ears of the body
NECK = 1
MIDDLE_FACE = np.arange(36, 48)  # the eyes
NEEDED = [*MIDDLE_FACE, CHIN]


@dataclass(frozen=True)
class Slider:
    """A kind of change. low, high: its limits, 0 is none. meaning: what the ends stand for."""

    low: float
    high: float
    meaning: str


SLIDERS = {
    "mouth_open": Slider(-1, 1, "-1 closes an open mouth, 1 opens it wide"),
    "smile": Slider(-1, 1, "-1 lowers the corners of the mouth, 1 raises them"),
    "brows": Slider(-1, 1, "-1 lowers the brows, 1 raises them"),
    "blink": Slider(0, 1, "1 closes the eyes"),
    "gaze_x": Slider(-1, 1, "-1 looks to the picture's left, 1 to its right"),
    "gaze_y": Slider(-1, 1, "-1 looks up, 1 down"),
    "head_tilt": Slider(-45, 45, "degrees, clockwise in the picture"),
}
# Sizes of the full changes: heights in distances from the eyes to the chin, those of gaze in an eye's width.
MOUTH_GAP, CORNERS_DROP, LIP_RISE, NARROWING, CHIN_DROP = 0.32, 0.08, 0.04, 0.25, 0.05
SMILE_RISE, SMILE_SAG, SMILE_WIDTH = 0.09, 0.07, 0.18
BROW_RISE = 0.16
LIDS_MEET = 0.69  # from the upper to the lower lid
GAZE_X, GAZE_Y, GAZE_LIMIT = 0.18, 0.13, 0.36
LIP_TO_CHIN = 0.12  # least distance


def edit_expression(frames: Sequence[PoseFrame], sliders: Mapping[str, Schedule]) -> list[PoseFrame]:
    """Return the frames with the expression of everybody changed; people whose eyes or chin are not shown stay as they
    are, and so do mouths that are not shown whole.

    sliders: names of SLIDERS and their values, each a schedule over the frames (see schedules.curve), added to what was
    detected. Landmarks stay plausible: lips and lids close but do not cross, pupils stay in the eyes, the chin below
    the lips.
    Raises InputError for an unknown slider, a value out of range, and if nobody shows such a face.
    """
    for name in sliders:
        if name not in SLIDERS:
            raise InputError(f"The slider {name!r} is unknown: use one of {', '.join(SLIDERS)}.")
    curves = {
        name: curve(schedule, len(frames), name, SLIDERS[name].low, SLIDERS[name].high)
        for name, schedule in sliders.items()
    }
    changes = any(row.any() for row in curves.values())
    if changes and not any(_is_editable(person) for frame in frames for person in frame.people):
        raise InputError("No frame shows the eyes and chin of a face: give keypoints with faces, or a still face.")
    edited = []
    for number, frame in enumerate(frames):
        values = {name: float(row[number]) for name, row in curves.items() if row[number]}
        people = tuple(_edit(person, values) for person in frame.people) if values else frame.people
        edited.append(replace(frame, people=people))
    return edited


def still_face(frames: Sequence[PoseFrame], reference: PoseFrame) -> list[PoseFrame]:
    """Return the frames with the face of the reference in place of the detected ones, unmoved but for the head.

    For a driving video whose faces cannot be read. The largest face of the reference is shifted, turned and scaled as
    nose, eyes and ears of each person are; people whose head is not shown get no face.
    Raises InputError if the reference shows no face, or not two of these points.
    """
    shown = [person for person in reference.people if person.face[:, 2].any()]
    if not shown:
        raise InputError("The reference shows no face: give one seen from the front.")
    model = max(shown, key=lambda person: np.ptp(person.face[person.face[:, 2] > 0, 1]))
    if (model.body[HEAD, 2] > 0).sum() < 2:
        raise InputError("The reference shows less than two of nose, eyes and ears: give another picture.")
    return [replace(frame, people=tuple(_with_face(person, model) for person in frame.people)) for frame in frames]


def _with_face(person: Person, model: Person) -> Person:
    both = [row for row in HEAD if person.body[row, 2] > 0 and model.body[row, 2] > 0]
    face = np.zeros_like(model.face)
    if len(both) > 1:
        ours, theirs = _complex(model.body[both]), _complex(person.body[both])
        centred = ours - ours.mean()
        turn = (np.conj(centred) * (theirs - theirs.mean())).sum() / (abs(centred) ** 2).sum()
        moved = theirs.mean() + turn * (_complex(model.face) - ours.mean())
        face[:] = np.stack([moved.real, moved.imag, model.face[:, 2]], axis=1)
        face[model.face[:, 2] <= 0] = 0
    return replace(person, face=face)


def _is_editable(person: Person) -> bool:
    return bool((person.face[NEEDED, 2] > 0).all())


def _edit(person: Person, values: Mapping[str, float]) -> Person:
    if not _is_editable(person):
        return person
    seen = person.face[:, 2] > 0
    points = _complex(person.face)
    right, left = (points[list(MIDDLE_FACE[part])].mean() for part in (slice(0, 6), slice(6, 12)))
    if left == right:
        return person
    middle, across = (left + right) / 2, (left - right) / abs(left - right)
    local = (points - middle) / across  # real: to the picture's right, imaginary: down, of an upright face
    height = max(local[CHIN].imag, 1e-3)
    if seen[MOUTH].all():
        _move_mouth(local, height, values.get("mouth_open", 0.0), values.get("smile", 0.0))
    local[BROWS] -= 1j * BROW_RISE * height * values.get("brows", 0.0)
    for eye, pupil in zip(EYES, PUPILS):
        _move_eye(local, eye, pupil if seen[pupil] else None, values)
    points = local * across + middle
    body = person.body.copy()
    if turn := np.deg2rad(values.get("head_tilt", 0.0)):
        pivot = points[CHIN]
        if body[NECK, 2] > 0:
            pivot = (pivot + _complex(body[NECK])) / 2
        points = pivot + (points - pivot) * np.exp(1j * turn)
        rows = [row for row in HEAD if body[row, 2] > 0]
        turned = pivot + (_complex(body[rows]) - pivot) * np.exp(1j * turn)
        body[rows, 0], body[rows, 1] = turned.real, turned.imag
    face = person.face.copy()
    face[seen, 0], face[seen, 1] = points.real[seen], points.imag[seen]
    return replace(person, face=face, body=body)


def _move_mouth(local: np.ndarray, height: float, opened: float, smile: float) -> None:
    """Move lips and chin; both amounts are fractions of the full change."""
    mouth, lower, gaps = MOUTH, list(LOWER_LIPS), _gaps(local)
    left, right = local[list(OUTER)].real
    centre, half = (left + right) / 2, max((right - left) / 2, 1e-6)
    bow = 1 - np.clip((local[mouth].real - centre) / half, -1, 1) ** 2  # 0 at the corners, 1 in the middle
    is_lower = np.isin(np.arange(48, 68), lower)
    down = opened * (CORNERS_DROP * (1 - bow) - LIP_RISE + MOUTH_GAP * bow * is_lower)
    down += smile * (SMILE_SAG * bow - SMILE_RISE * (1 - bow))
    wider = 1 + SMILE_WIDTH * smile - NARROWING * max(opened, 0) * (1 - max(smile, 0))
    local[mouth] = centre + (local[mouth].real - centre) * wider + 1j * (local[mouth].imag + height * down)
    local[lower] += 1j * np.maximum(_closed(gaps) - _gaps(local), 0)  # lips close, but do not cross
    if opened > 0:
        chin = max(local[CHIN].imag + CHIN_DROP * height * opened, local[57].imag + LIP_TO_CHIN * height)
        local[JAW] += 1j * np.sin(np.linspace(0, np.pi, 17)) ** 2 * (chin - local[CHIN].imag)


def _gaps(local: np.ndarray) -> np.ndarray:
    """Return how far each lower lip's landmark is below the upper one's, outer ones first."""
    return (local[list(LOWER_LIPS)] - local[list(UPPER_LIPS)]).imag


def _closed(gaps: np.ndarray) -> np.ndarray:
    """Return the gaps of a closed mouth: inner lips touch, outer ones keep their thickness."""
    inner = np.maximum(gaps[5:], 0)
    opened = np.interp(np.arange(5), [0, 1, 2, 3, 4], [0, inner[0], inner[1], inner[2], 0])
    return np.concatenate([np.maximum(gaps[:5] - opened, 0), np.zeros(3)])


def _move_eye(local: np.ndarray, eye: tuple, pupil: int | None, values: Mapping[str, float]) -> None:
    corners, upper, lower = (list(rows) for rows in eye)
    if blink := values.get("blink", 0.0):
        meet = local[upper] + LIDS_MEET * (local[lower] - local[upper])
        local[upper] += blink * (meet - local[upper])
        local[lower] += blink * (meet - local[lower])
    x, y = values.get("gaze_x", 0.0), values.get("gaze_y", 0.0)
    if pupil is None or not (x or y):
        return
    width = abs(local[corners[1]] - local[corners[0]])
    centre = local[corners].mean()
    moved = local[pupil] + width * (GAZE_X * x + 1j * GAZE_Y * y)
    limit = GAZE_LIMIT * width
    local[pupil] = (
        centre + np.clip((moved - centre).real, -limit, limit) + 1j * np.clip((moved - centre).imag, -limit, limit)
    )


def _complex(points: np.ndarray) -> np.ndarray:
    """Return x + iy of points [..., 3], complex128."""
    return points[..., 0].astype(np.float64) + 1j * points[..., 1]
