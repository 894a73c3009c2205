"""Pose maps from wherever a user has them: pictures, a video, or keypoints."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from ..errors import InputError
from .frames import PICTURE_SUFFIXES, Frames, existing, files_with_suffix, read_frames


def read_poses(path: str | Path) -> Frames:
    """Pose maps of a folder or video of drawn maps, of a keypoint JSON file, or of a folder of such files.

    Keypoints (OpenPose JSON, ComfyUI's POSE_KEYPOINT) are drawn as the published Pose ControlNet expects them, each in
    the size of its canvas. In a folder that holds pictures and JSON files, the pictures count.
    Raises InputError where there is no pose; while iterating, where a frame cannot be read.
    """
    path = existing(path)
    if path.is_dir():
        files = files_with_suffix(path, (".json",))
        if not files or files_with_suffix(path, PICTURE_SUFFIXES):
            return read_frames(path)
    elif path.suffix.lower() == ".json":
        files = [path]
    else:
        return read_frames(path)
    frames = [frame for file in files for frame in _keypoints(file)]
    if not frames:
        raise InputError(f"{path} holds no pose frames; give keypoints of at least one frame.")

    from ..pose.draw import draw_pose

    names = tuple(file.stem for file in files)
    return Frames(
        lambda: (Image.fromarray(draw_pose(frame)) for frame in frames),
        len(frames),
        names=names if len(names) == len(frames) else None,
    )


def _keypoints(path: Path) -> list:
    from ..pose.keypoints import frames_from_pose_keypoint

    try:
        return frames_from_pose_keypoint(json.loads(path.read_bytes()))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a readable file.") from error
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON ({error}); give keypoints as OpenPose writes them.") from error
    except ValueError as error:
        raise InputError(f"{path} does not hold usable keypoints: {error}") from error
