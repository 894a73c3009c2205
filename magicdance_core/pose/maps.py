"""Read pose maps from pictures, a video, or keypoint files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..choices import FOREIGN_THRESHOLD
from ..errors import InputError
from ..files import existing
from ..media import BLACK, Frames, read_frames
from ..media.fit import Box
from .draw import draw_pose
from .keypoint_files import holds_keypoints, keypoint_rate, load_keypoints
from .keypoints import PoseFrame, people_to_points
from .map_check import check_pose_maps

# Black is noisy in lossy videos.
_BLACK = 40
# Margins around the box of a person's keypoints, as fractions of its size: hair above, elbows and feet elsewhere.
_MARGIN_ABOVE, _MARGIN = 0.1, 0.03


@dataclass(frozen=True)
class PoseMaps(Frames):
    """Pose maps that are read one by one.

    people_box: reads all frames and returns the box around everybody in any of them, None if there is nobody.
    keypoints: what they are drawn from; None for maps that were drawn before.
    """

    people_box: Callable[[], Box | None] = lambda: None
    keypoints: Sequence[PoseFrame] | None = None


def read_poses(path: str | Path, threshold: float = FOREIGN_THRESHOLD) -> PoseMaps:
    """Read pose maps of a folder or video of drawn maps, a keypoint file (.npz, .json), a folder of JSON files, or the
    folder that `extract` wrote.

    Keypoints are drawn as the published Pose ControlNet expects them, in the size of their canvas. In a folder of
    pictures and JSON files the pictures are read; transparent ones get a black ground.
    threshold: see `load_keypoints`.
    Raises InputError if there is no pose or the pictures are no pose maps; while iterating, if a frame cannot be read.
    """
    path = existing(path)
    if not holds_keypoints(path):
        maps = read_frames(path, BLACK)
        check_pose_maps(maps, str(path))
        return PoseMaps(maps.read, maps.count, maps.fps, maps.names, lambda: _union(map(_drawn_box, maps)))
    frames = load_keypoints(path, threshold=threshold, remark=True)
    if not any(frame.people for frame in frames):
        raise InputError(f"{path} has nobody in any of its {len(frames)} frames: give keypoints of a person.")
    return draw_maps(frames, keypoint_rate(path))


def draw_maps(frames: Sequence[PoseFrame], fps: float | None = None) -> PoseMaps:
    """Return the pose maps of keypoints, each drawn when it is read, in the size of its canvas."""
    return PoseMaps(
        lambda: (Image.fromarray(draw_pose(frame)) for frame in frames),
        len(frames),
        fps,
        people_box=lambda: _union(map(_keypoint_box, frames)),
        keypoints=frames,
    )


def _union(boxes: Iterable[Box | None]) -> Box | None:
    """Return the box around all boxes, with margins, clipped to the picture."""
    found = [box for box in boxes if box]
    if not found:
        return None
    left, top = np.min([box[:2] for box in found], axis=0)
    right, bottom = np.max([box[2:] for box in found], axis=0)
    wide, high = right - left, bottom - top
    made = np.clip(
        [left - _MARGIN * wide, top - _MARGIN_ABOVE * high, right + _MARGIN * wide, bottom + _MARGIN * high], 0, 1
    )
    return tuple(made.tolist())


def _drawn_box(pose_map: Image.Image) -> Box | None:
    bright = np.asarray(pose_map).max(axis=-1) > _BLACK
    columns, rows = (np.flatnonzero(bright.any(axis=axis)) for axis in (0, 1))
    if not len(rows):
        return None
    height, width = bright.shape
    return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height


def _keypoint_box(frame: PoseFrame) -> Box | None:
    points = people_to_points(frame.people)
    visible = points[points[..., 2] > 0, :2] / (frame.width, frame.height)
    return (*visible.min(axis=0), *visible.max(axis=0)) if len(visible) else None
