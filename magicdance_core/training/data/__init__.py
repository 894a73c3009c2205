"""Data sets of one interface (`frames.FrameSet`), and samples drawn from them by number."""

from pathlib import Path

from ..config import DataConfig
from .frames import Frame, FrameSet, Video
from .puppets import PuppetFrames

__all__ = ["Frame", "FrameSet", "Video", "open_frames"]


def open_frames(config: DataConfig, cache: Path) -> FrameSet:
    """The data set that a configuration names. cache: a folder for what is made on the way."""
    if config.kind == "puppets":
        return PuppetFrames(config, cache)
    from .videos import open_videos

    return open_videos(config)
