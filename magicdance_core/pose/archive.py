"""Pose frames in a compact file: NumPy's .npz without pickle."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..files import whole_file
from .keypoints import PoseFrame
from .sequence import POINTS, people_points, points_person

_ARRAYS = ("points", "identities", "people", "sizes")
_NOBODY = -1


def save_archive(path: str | Path, frames: Sequence[PoseFrame]) -> None:
    """Write frames to a .npz file, whole or not at all. `load_archive` gives the same frames back, to the bit.

    points: float32 [P, 136, 3], all people of all frames: body, left hand, right hand, face, feet, each point x, y in
    pixels and confidence; identities: int64 [P], -1 for none; people: int32 [F], how many a frame has; sizes:
    int32 [F, 2], width and height of each frame's canvas.
    """
    people = [person for frame in frames for person in frame.people]
    arrays = {
        "points": people_points(people),
        "identities": np.array([_NOBODY if p.identity is None else p.identity for p in people], np.int64),
        "people": np.array([len(frame.people) for frame in frames], np.int32),
        "sizes": np.array([(frame.width, frame.height) for frame in frames], np.int32).reshape(-1, 2),
    }
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_archive(path: str | Path) -> list[PoseFrame]:
    """The frames of a file that `save_archive` wrote. InputError where it is something else or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            points, identities, people, sizes = (file[name] for name in _ARRAYS)
        consistent = (
            points.shape == (len(identities), POINTS, 3)
            and (people.ndim, sizes.shape) == (1, (len(people), 2))
            and (people >= 0).all()
            and people.sum() == len(points)
        )
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a readable file.") from error
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no keypoints of this pack ({error}); extract them again.") from error
    if not consistent:
        raise InputError(f"{path} holds arrays that do not fit together; extract the keypoints again.")
    frames, start = [], 0
    for count, (width, height) in zip(people.tolist(), sizes.tolist()):
        own = zip(points[start : start + count], identities[start : start + count].tolist())
        made = tuple(points_person(row, None if number == _NOBODY else number) for row, number in own)
        frames.append(PoseFrame(made, width, height))
        start += count
    return frames
