"""Pose maps from wherever a user has them: pictures, a video, or keypoints."""

from pathlib import Path

from PIL import Image

from ..files import existing
from ..media import Frames, read_frames
from .draw import draw_pose
from .files import holds_keypoints, load_keypoints


def read_poses(path: str | Path) -> Frames:
    """Pose maps of a folder or video of drawn maps, of a keypoint file (.npz, .json), or of a folder of JSON files.

    Keypoints are drawn as the published Pose ControlNet expects them, each in the size of its canvas. In a folder that
    holds pictures and JSON files, the pictures count.
    Raises InputError where there is no pose; while iterating, where a frame cannot be read.
    """
    path = existing(path)
    if not holds_keypoints(path):
        return read_frames(path)
    frames = load_keypoints(path)
    return Frames(lambda: (Image.fromarray(draw_pose(frame)) for frame in frames), len(frames))
