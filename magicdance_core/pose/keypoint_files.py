"""Keypoint files: read JSON and .npz, write both."""

import json
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..choices import KEYPOINT_SUFFIXES
from ..errors import InputError
from ..files import atomic_write, existing, existing_file, files_with_suffix, read_json
from ..limits import MAX_ARCHIVE_BYTES, MAX_FRAMES, MAX_PEOPLE
from ..media.read import PICTURE_SUFFIXES
from .keypoint_json import (
    frame_from_openpose_json,
    frames_from_pose_keypoint,
    frames_to_pose_keypoint,
    is_openpose_json,
)
from .keypoints import POINTS, PoseFrame, people_to_points, points_to_person


def holds_keypoints(path: Path) -> bool:
    """Whether a path is a keypoint file by its name, or a folder with JSON files and no pictures."""
    if path.is_dir():
        return bool(files_with_suffix(path, (".json",))) and not files_with_suffix(path, PICTURE_SUFFIXES)
    return path.suffix.lower() in KEYPOINT_SUFFIXES


def load_keypoints(path: str | Path, width: int | None = None, height: int | None = None) -> list[PoseFrame]:
    """The frames of a .npz archive, of a JSON file, or of a folder of JSON files sorted by name.

    JSON is POSE_KEYPOINT (a dict a frame, alone or in a list) or OpenPose's own, which does not say how large its
    picture was: for that, give width and height in pixels.
    Raises InputError where there is no frame or a file is something else.
    """
    path = existing(path)
    files = files_with_suffix(path, (".json",)) if path.is_dir() else [path]
    frames = [frame for file in files for frame in _file(file, width, height)]
    if not frames:
        raise InputError(f"{path} holds no pose frames; give keypoints of at least one frame.")
    return frames


def save_keypoints(path: str | Path, frames: Sequence[PoseFrame]) -> None:
    """Write frames to a .npz archive or a .json file (POSE_KEYPOINT), whole or not at all, losslessly."""
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        save_archive(path, frames)
    elif suffix == ".json":
        with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
            for number, frame in enumerate(frames):  # one by one: the text of a long clip takes much memory
                file.write(",\n" if number else "[\n")
                json.dump(frames_to_pose_keypoint([frame])[0], file)
            file.write("\n]\n" if frames else "[]\n")
    else:
        raise InputError(f"{path} has a suffix that is not known; use one of {', '.join(KEYPOINT_SUFFIXES)}.")


def _file(path: Path, width: int | None, height: int | None) -> list[PoseFrame]:
    if path.suffix.lower() == ".npz":
        return load_archive(path)
    data = read_json(path, "keypoints as .json or .npz")
    try:
        if not is_openpose_json(data):
            return frames_from_pose_keypoint(data)
        if width is None or height is None:
            raise InputError(
                "OpenPose's JSON does not say how large its picture was; give its width and height "
                "(the extract command takes them and writes keypoints.npz)."
            )
        return [frame_from_openpose_json(data, width, height)]
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


_ARRAYS = ("points", "identities", "people", "sizes")
_NOBODY = -1


# What damaged and foreign bytes make NumPy and zipfile raise; MemoryError where a header promises more than there is.
_FOREIGN = (
    AttributeError, EOFError, KeyError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_archive(path: str | Path, frames: Sequence[PoseFrame]) -> None:
    """Write frames to a .npz file, whole or not at all. `load_archive` gives the same frames back, to the bit.

    points: float32 [P, 136, 3], all people of all frames: body, left hand, right hand, face, feet, each point x, y in
    pixels and confidence; identities: int64 [P], -1 for none; people: int32 [F], how many a frame has; sizes:
    int32 [F, 2], width and height of each frame's canvas.
    """
    people = [person for frame in frames for person in frame.people]
    arrays = {
        "points": people_to_points(people),
        "identities": np.array([_NOBODY if p.identity is None else p.identity for p in people], np.int64),
        "people": np.array([len(frame.people) for frame in frames], np.int32),
        "sizes": np.array([(frame.width, frame.height) for frame in frames], np.int32).reshape(-1, 2),
    }
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_archive(path: str | Path) -> list[PoseFrame]:
    """The frames of a file that `save_archive` wrote. InputError where it is something else or damaged."""
    path = existing_file(path)
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            points, identities, people, sizes = (file[name] for name in _ARRAYS)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); give a readable file.") from error
    except _FOREIGN as error:
        raise InputError(f"{path} holds no keypoints of this pack ({error}); extract them again.") from error
    consistent = (
        points.dtype.kind == "f"
        and all(array.dtype.kind in "iu" for array in (identities, people, sizes))
        and identities.ndim == 1
        and points.shape == (len(identities), POINTS, 3)
        and people.ndim == 1
        and sizes.shape == (len(people), 2)
    )
    # The sum may overflow where single counts are out of bounds.
    if not consistent or not ((people >= 0) & (people <= MAX_PEOPLE)).all() or people.sum() != len(points):
        raise InputError(f"{path} holds arrays that do not fit together; extract the keypoints again.")
    try:
        return list(_frames(points, identities, people, sizes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _frames(points, identities, people, sizes) -> Iterator[PoseFrame]:
    start = 0
    for count, (width, height) in zip(people.tolist(), sizes.tolist()):
        own = zip(points[start : start + count], identities[start : start + count].tolist())
        made = tuple(points_to_person(row, None if number == _NOBODY else number) for row, number in own)
        yield PoseFrame(made, width, height)
        start += count


def _check_archive(path: Path) -> None:
    """Raise InputError where unpacking would need a password or more memory than keypoints ever do."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path} is encrypted; give an archive without a password.")
    counts = {member.filename: member.file_size for member in members}
    if sum(counts.values()) > MAX_ARCHIVE_BYTES or counts.get("people.npy", 0) > 8 * MAX_FRAMES + 1024:
        raise InputError(
            f"{path} holds more than {MAX_ARCHIVE_BYTES / 1e6:.0f} MB of keypoints or {MAX_FRAMES:,} frames; "
            "give a shorter clip."
        )
