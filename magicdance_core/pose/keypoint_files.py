"""Read and write keypoint files: .npz archives (NumPy, without pickle) and JSON."""

import json
import logging
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..choices import FOREIGN_THRESHOLD, KEYPOINT_SUFFIXES
from ..errors import InputError
from ..files import atomic_write, existing, existing_file, files_with_suffix, read_json
from ..limits import MAX_ARCHIVE_BYTES, MAX_FRAMES, MAX_PEOPLE, plausible_fps
from ..media.read import PICTURE_SUFFIXES
from .keypoint_json import Origin, frames_from_pose_keypoint, frames_to_pose_keypoint
from .keypoints import POINTS, PoseFrame, people_to_points, points_to_person

EXTRACTED, REPORT = "keypoints.npz", "report.json"  # in the folder that `extract` writes


def holds_keypoints(path: Path) -> bool:
    """Return whether a path is a keypoint file by its suffix, a folder of JSON files without pictures, or the folder
    that `extract` wrote."""
    if path.is_dir():
        if (path / EXTRACTED).is_file():
            return True
        return bool(files_with_suffix(path, (".json",))) and not files_with_suffix(path, PICTURE_SUFFIXES)
    return path.suffix.lower() in KEYPOINT_SUFFIXES


def keypoint_rate(path: Path) -> float | None:
    """Return the frames per second of a folder that `extract` wrote; None for other keypoints, which do not say it."""
    if not (path / EXTRACTED).is_file() or not (path / REPORT).is_file():
        return None
    report = read_json(path / REPORT, "what extract wrote")
    rate = report.get("fps") if isinstance(report, dict) else None
    return plausible_fps(rate) if isinstance(rate, (int, float)) else None


def load_keypoints(
    path: str | Path,
    width: int | None = None,
    height: int | None = None,
    threshold: float = FOREIGN_THRESHOLD,
    remark: bool = False,
) -> list[PoseFrame]:
    """Load the frames of a .npz archive, a JSON file, a folder of JSON files sorted by name, or what `extract` wrote.

    JSON is POSE_KEYPOINT (one dict per frame, alone or in a list) or OpenPose's own format. The latter does not contain
    the size of its picture: give `width` and `height` in pixels for it.
    threshold: points that other programs scored lower are dropped. remark: log how many were.
    Raises InputError if there is no frame or a file has another format.
    """
    path = existing(path)
    if path.is_dir() and (path / EXTRACTED).is_file():
        path /= EXTRACTED
    files = files_with_suffix(path, (".json",)) if path.is_dir() else [path]
    origin = Origin()
    frames = [frame for file in files for frame in _load_file(file, width, height, threshold, origin)]
    if not frames:
        raise InputError(f"{path} has no pose frames: give keypoints of at least one frame.")
    if origin.dropped and remark:
        logging.warning(
            "%s: %d of %d points have a score below %g and are left out (--min-score changes it).",
            path, origin.dropped, origin.total, threshold,
        )  # fmt: skip
    return frames


def save_keypoints(path: str | Path, frames: Sequence[PoseFrame]) -> None:
    """Write frames losslessly and atomically to a .npz archive or a .json file (POSE_KEYPOINT)."""
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        save_archive(path, frames)
    elif suffix == ".json":
        with atomic_write(path) as part, part.open("w", encoding="utf-8") as file:
            for number, frame in enumerate(frames):  # frame by frame: the text of a long clip needs much memory
                file.write(",\n" if number else "[\n")
                json.dump(frames_to_pose_keypoint([frame])[0], file)
            file.write("\n]\n" if frames else "[]\n")
    else:
        raise InputError(f"{path} has an unknown suffix: use one of {', '.join(KEYPOINT_SUFFIXES)}.")


def _load_file(path: Path, width: int | None, height: int | None, threshold: float, origin: Origin) -> list[PoseFrame]:
    if path.suffix.lower() == ".npz":
        return load_archive(path)
    data = read_json(path, "keypoints as .json or .npz")
    try:
        return frames_from_pose_keypoint(data, width, height, threshold, origin)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


_ARRAYS = ("points", "identities", "people", "sizes")
_NO_IDENTITY = -1

# What NumPy and zipfile raise for damaged and foreign files; MemoryError if a header claims more than the file has.
_READ_ERRORS = (
    AttributeError, EOFError, KeyError, MemoryError, OverflowError, RuntimeError, SyntaxError, TypeError, ValueError,
    lzma.LZMAError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def save_archive(path: str | Path, frames: Sequence[PoseFrame]) -> None:
    """Write frames atomically to a .npz file; `load_archive` returns bit-identical frames.

    Its arrays: points, float32 [P, 136, 3], all people of all frames in the order of keypoints.SLICES (x, y in pixels,
    confidence); identities, int64 [P], -1 for none; people, int32 [F], the number per frame; sizes, int32 [F, 2], width
    and height of each frame's canvas.
    """
    people = [person for frame in frames for person in frame.people]
    arrays = {
        "points": people_to_points(people),
        "identities": np.array([_NO_IDENTITY if p.identity is None else p.identity for p in people], np.int64),
        "people": np.array([len(frame.people) for frame in frames], np.int32),
        "sizes": np.array([(frame.width, frame.height) for frame in frames], np.int32).reshape(-1, 2),
    }
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_archive(path: str | Path) -> list[PoseFrame]:
    """Load the frames of a file written by `save_archive`. Raises InputError if it is damaged or another format."""
    path = existing_file(path)
    try:
        _check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            points, identities, people, sizes = (file[name] for name in _ARRAYS)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): give a readable file.") from error
    except _READ_ERRORS as error:
        raise InputError(
            f"{path} is not a keypoint archive of this pack ({error}): extract the keypoints again."
        ) from error
    consistent = (
        points.dtype.kind == "f"
        and all(array.dtype.kind in "iu" for array in (identities, people, sizes))
        and identities.ndim == 1
        and points.shape == (len(identities), POINTS, 3)
        and people.ndim == 1
        and sizes.shape == (len(people), 2)
    )
    # Counts are checked first, as their sum could overflow.
    if not consistent or not ((people >= 0) & (people <= MAX_PEOPLE)).all() or people.sum() != len(points):
        raise InputError(f"{path} has arrays whose shapes do not match: extract the keypoints again.")
    try:
        return list(_unpack(points, identities, people, sizes))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _unpack(points, identities, people, sizes) -> Iterator[PoseFrame]:
    start = 0
    for count, (width, height) in zip(people.tolist(), sizes.tolist()):
        rows = zip(points[start : start + count], identities[start : start + count].tolist())
        people_of_frame = tuple(
            points_to_person(row, None if number == _NO_IDENTITY else number) for row, number in rows
        )
        yield PoseFrame(people_of_frame, width, height)
        start += count


def _check_archive(path: Path) -> None:
    """Raise InputError if the archive is encrypted or would unpack to more than keypoints ever need."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{path} is encrypted: give an archive without a password.")
    if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
        raise InputError(f"{path} is compressed as NumPy does not: extract the keypoints again.")  # unpacked as a whole
    counts = {member.filename: member.file_size for member in members}
    if sum(counts.values()) > MAX_ARCHIVE_BYTES or counts.get("people.npy", 0) > 8 * MAX_FRAMES + 1024:
        raise InputError(
            f"{path} has more than {MAX_ARCHIVE_BYTES / 1e6:.0f} MB of keypoints or {MAX_FRAMES:,} frames: "
            "give a shorter clip."
        )
