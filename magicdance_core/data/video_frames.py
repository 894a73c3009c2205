"""Files of frames and poses as a data set."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media import BLACK, read_picture
from ..pose.draw import draw_pose
from ..pose.keypoint_files import load_keypoints
from ..pose.keypoints import PoseFrame
from ..pose.parts import mirrored as mirror
from ..pose.parts import without_parts
from .array_cache import digest
from .frame_sets import REGIONS, Frame, Video, regions_of

OPENPOSE_THRESHOLD = 0.05  # with which OpenPose, whose files data sets hold, draws
MAX_VIDEOS_IN_MEMORY = 16
"""Number of videos whose keypoints stay in a process's memory."""


@dataclass(frozen=True)
class FrameFiles:
    """The files of a video, in the order of its frames.

    pictures: one per frame. maps: pose maps, one per frame. keypoints: one file for all frames, or one per frame; rows:
    indices of the frames in a file for all (None: 0, 1, 2, ...). masks: white where the person is; may be absent.
    Either maps or keypoints are given.
    """

    video: Video
    pictures: tuple[Path, ...]
    maps: tuple[Path, ...] = ()
    keypoints: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()
    rows: tuple[int, ...] | None = None


class VideoFrames:
    """Videos in files; a `frame_sets.FrameSet`. Keypoints are drawn when a frame is read."""

    def __init__(self, files: list[FrameFiles], black_background: bool = False):
        """black_background: paint everything outside of the masks black."""
        self.files, self.black_background = files, black_background
        self.videos = [entry.video for entry in files]
        about = [(v.name, v.frames, v.width, v.height, v.split) for v in self.videos]
        self.modified = [entry.pictures[0].stat().st_mtime_ns for entry in files]
        self.fingerprint = digest((about, self.modified, black_background))
        self._keypoints: OrderedDict[int, list[PoseFrame]] = OrderedDict()

    def read(self, video: int, frame: int, hidden: Collection[str] = (), mirrored: bool = False) -> Frame:
        """See `FrameSet.read`."""
        entry = self.files[video]
        mask = read_picture(entry.masks[frame], BLACK, quiet=True) if self.black_background and entry.masks else None
        pose = read_picture(entry.maps[frame], BLACK, quiet=True) if entry.maps else self.pose(video, frame)
        picture, name = read_picture(entry.pictures[frame], quiet=True), str(entry.pictures[frame])
        return make_frame(picture, pose, mask, entry.video, name, hidden, mirrored)

    def pose(self, video: int, frame: int) -> PoseFrame:
        """Return the keypoints of a frame of a video that has keypoints. Raises InputError if the file has too few."""
        entry = self.files[video]
        size = entry.video.width, entry.video.height
        if len(entry.keypoints) > 1 or entry.video.frames == 1:
            return load_keypoints(entry.keypoints[frame], *size, OPENPOSE_THRESHOLD)[0]
        if video not in self._keypoints:
            frames = load_keypoints(entry.keypoints[0], *size, OPENPOSE_THRESHOLD)
            needed = max(entry.rows) + 1 if entry.rows else entry.video.frames
            if len(frames) < needed:
                raise InputError(
                    f"{entry.keypoints[0]} has {len(frames)} frames, and {needed} are needed: make it again."
                )
            self._keypoints[video] = frames
            if len(self._keypoints) > MAX_VIDEOS_IN_MEMORY:
                self._keypoints.popitem(last=False)
        frames = self._keypoints[video]
        return frames[entry.rows[frame] if entry.rows else frame]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_keypoints": OrderedDict()}


def make_frame(
    picture: Image.Image,
    pose: PoseFrame | Image.Image,
    mask: Image.Image | None,
    video: Video,
    name: str,
    hidden: Collection[str] = (),
    mirrored: bool = False,
) -> Frame:
    """Return a `Frame` made from a picture and its pose.

    pose: keypoints, which are drawn, or a pose map, whose regions are unknown. mask: white where the person is; None
    keeps the background. name: of the picture, for messages. hidden, mirrored: see `FrameSet.read`.
    Raises InputError if the size of the picture is not that of its video, or if a drawn map is to be changed.
    """
    if picture.size != (video.width, video.height):
        raise InputError(
            f"{name} has {picture.width} x {picture.height} pixels, and the video's first frame {video.width} x "
            f"{video.height}: give one size."
        )
    image = np.asarray(picture)
    if mask is not None:
        mask = mask.convert("L").resize(picture.size, Image.Resampling.NEAREST)
        image = image * (np.asarray(mask) > 127)[..., None]
    regions = np.zeros((len(REGIONS), 4), np.float32)
    if isinstance(pose, Image.Image):
        if pose.size != picture.size:
            pose = pose.resize(picture.size, Image.Resampling.BILINEAR)
        if hidden or mirrored:
            raise InputError(
                f"{name} has a drawn pose map, whose parts cannot be told apart: set mask_face, mask_hand and "
                "data.flip to 0, or prepare the videos with `magicdance dataset`, which keeps keypoints."
            )
        return Frame(image, np.asarray(pose), regions)
    pose = pose.scaled(*picture.size)
    if mirrored:
        image, pose = np.ascontiguousarray(image[:, ::-1]), mirror(pose)
    drawn = draw_pose(without_parts(pose, hidden))
    return Frame(image, drawn, regions_of(pose.people[0]) if pose.people else regions)
