"""Keypoint files of every kind in; keypoint files out."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..choices import KEYPOINT_SUFFIXES
from ..errors import InputError
from ..files import existing, files_with_suffix, read_json, atomic_write
from ..media.frames import PICTURE_SUFFIXES
from .archive import load_archive, save_archive
from .keypoints import PoseFrame
from .openpose_json import frame_from_openpose_json, is_openpose_json
from .pose_keypoint import frames_from_pose_keypoint, frames_to_pose_keypoint


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
