"""Data sets of one interface (`frames.FrameSet`), and samples drawn from them by number."""

from pathlib import Path

from ...errors import InputError
from ..config import DataConfig
from .frames import Frame, FrameSet, Video
from .layouts import read_layout
from .puppets import PuppetFrames
from .videos import VideoFrames

__all__ = ["Frame", "FrameSet", "Video", "open_frames"]


def open_frames(config: DataConfig, cache: Path) -> FrameSet:
    """The data set that a configuration names. cache: a folder for what is made on the way."""
    if config.kind == "puppets":
        return PuppetFrames(config, cache)
    frames = VideoFrames(read_layout(Path(config.folder)), config.background == "black")
    for video in frames.videos:
        if 4 * min(video.width, video.height) < config.size:
            raise InputError(f"{video.name} has less than a quarter of {config.size} pixels: give larger pictures.")
    return frames
