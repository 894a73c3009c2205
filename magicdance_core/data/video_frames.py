"""Folders of frames and poses as a data set."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media import read_picture
from ..pose.draw import draw_pose
from ..pose.keypoint_files import load_keypoints
from ..pose.keypoints import PoseFrame
from .frame_sets import REGIONS, Frame, Video, regions_of

VIDEOS_KEPT = 16
"""Keypoints of so many videos stay in a process's memory."""


@dataclass(frozen=True)
class FrameFiles:
    """A video as files, all in the order of its frames.

    pictures: one a frame. maps: pose maps, one a frame. keypoints: one file of all frames, or one a frame; `rows` are
    the frames' places in a file of all (None: they fit one to one). masks: the person white; where there are such.
    Either maps or keypoints are there.
    """

    video: Video
    pictures: tuple[Path, ...]
    maps: tuple[Path, ...] = ()
    keypoints: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    rows: tuple[int, ...] | None = None


class VideoFrames:
    """Videos of files; a `frame_sets.FrameSet`. Poses that are keypoints are drawn when asked for."""

    def __init__(self, files: list[FrameFiles], black_background: bool = False):
        """black_background: paint black what is outside of the masks."""
        self.files, self.black_background = files, black_background
        self.videos = [entry.video for entry in files]
        names = [(v.name, v.frames, v.width, v.height, v.split) for v in self.videos]
        self.stamps = [entry.pictures[0].stat().st_mtime_ns for entry in files]
        text = repr((names, self.stamps, black_background))
        self.fingerprint = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        self._keypoints: OrderedDict[int, list[PoseFrame]] = OrderedDict()

    def read(self, video: int, frame: int) -> Frame:
        entry = self.files[video]
        mask = read_picture(entry.masks[frame]) if self.black_background and entry.masks else None
        pose = read_picture(entry.maps[frame]) if entry.maps else self.pose(video, frame)
        return make_frame(read_picture(entry.pictures[frame]), pose, mask, entry.video, str(entry.pictures[frame]))

    def pose(self, video: int, frame: int) -> PoseFrame:
        """The keypoints of a frame, where the video has keypoints."""
        entry = self.files[video]
        size = entry.video.width, entry.video.height
        if len(entry.keypoints) > 1 or entry.video.frames == 1:
            return load_keypoints(entry.keypoints[frame], *size)[0]
        if video not in self._keypoints:
            frames = load_keypoints(entry.keypoints[0], *size)
            needed = max(entry.rows) + 1 if entry.rows else entry.video.frames
            if len(frames) < needed:
                raise InputError(
                    f"{entry.keypoints[0]} has {len(frames)} frames and {needed} are needed: make it again."
                )
            self._keypoints[video] = frames
            if len(self._keypoints) > VIDEOS_KEPT:
                self._keypoints.popitem(last=False)
        frames = self._keypoints[video]
        return frames[entry.rows[frame] if entry.rows else frame]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_keypoints": OrderedDict()}


def make_frame(
    picture: Image.Image, pose: PoseFrame | Image.Image, mask: Image.Image | None, of: Video, name: str
) -> Frame:
    """A `Frame` of what its files hold.

    pose: keypoints, which are drawn, or a pose map, whose regions are not known. mask: the person white; None keeps the
    background. name: of the picture, in messages. Raises InputError where the picture has not its video's size.
    """
    if picture.size != (of.width, of.height):
        raise InputError(
            f"{name} has {picture.width} x {picture.height} pixels, not those of its video's first: give one size."
        )
    image = np.asarray(picture)
    if mask is not None:
        mask = mask.convert("L").resize(picture.size, Image.Resampling.NEAREST)
        image = image * (np.asarray(mask) > 127)[..., None]
    regions = np.zeros((len(REGIONS), 4), np.float32)
    if isinstance(pose, Image.Image):
        if pose.size != picture.size:
            pose = pose.resize(picture.size, Image.Resampling.BILINEAR)
        return Frame(image, np.asarray(pose), regions)
    found = pose.scaled(*picture.size)
    return Frame(image, draw_pose(found), regions_of(found.people[0]) if found.people else regions)
