"""Pose maps from wherever a user has them: pictures, a video, or keypoints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..files import existing
from ..media import Frames, read_frames
from ..media.fit import Box
from .draw import draw_pose
from .keypoint_files import holds_keypoints, load_keypoints
from .keypoints import PoseFrame, people_to_points

# Lossy videos have a noisy black.
_BLACK = 40
# What belongs to a person around the box of their points, in its size: hair above, elbows and feet elsewhere.
_ABOVE, _AROUND = 0.1, 0.03


@dataclass(frozen=True)
class PoseMaps(Frames):
    """people: looks at all frames and tells the box around everybody in any of them, None where there is nobody."""

    people: Callable[[], Box | None] = lambda: None


def read_poses(path: str | Path) -> PoseMaps:
    """Pose maps of a folder or video of drawn maps, of a keypoint file (.npz, .json), or of a folder of JSON files.

    Keypoints are drawn as the published Pose ControlNet expects them, each in the size of its canvas. In a folder that
    holds pictures and JSON files, the pictures count.
    Raises InputError where there is no pose; while iterating, where a frame cannot be read.
    """
    path = existing(path)
    if not holds_keypoints(path):
        maps = read_frames(path)
        return PoseMaps(maps.read, maps.count, maps.fps, maps.names, lambda: _box(map(_drawn, maps)))
    frames = load_keypoints(path)
    return PoseMaps(
        lambda: (Image.fromarray(draw_pose(frame)) for frame in frames),
        len(frames),
        people=lambda: _box(map(_shown, frames)),
    )


def _box(boxes: Iterable[Box | None]) -> Box | None:
    """The box around all boxes with a person's margins, within the picture."""
    found = [box for box in boxes if box]
    if not found:
        return None
    left, top = np.min([box[:2] for box in found], axis=0)
    right, bottom = np.max([box[2:] for box in found], axis=0)
    wide, high = right - left, bottom - top
    made = np.clip([left - _AROUND * wide, top - _ABOVE * high, right + _AROUND * wide, bottom + _AROUND * high], 0, 1)
    return tuple(made.tolist())


def _drawn(pose_map: Image.Image) -> Box | None:
    bright = np.asarray(pose_map).max(axis=-1) > _BLACK
    columns, rows = (np.flatnonzero(bright.any(axis=axis)) for axis in (0, 1))
    if not len(rows):
        return None
    height, width = bright.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def _shown(frame: PoseFrame) -> Box | None:
    points = people_to_points(frame.people)
    seen = points[points[..., 2] > 0, :2] / (frame.width, frame.height)
    return (*seen.min(axis=0), *seen.max(axis=0)) if len(seen) else None
