"""Data sets of one interface (`frames.FrameSet`), and samples drawn from them by number."""

from pathlib import Path

from ...errors import InputError
from ..config import DataConfig
from .frames import Frame, FrameSet, Video
from .layouts import read_layout
from .puppets import PuppetFrames
from .shards import read_shards
from .streaming import StreamedFrames
from .videos import VideoFrames

__all__ = ["Frame", "FrameSet", "Video", "open_frames"]


def open_frames(config: DataConfig, cache: Path) -> FrameSet:
    """The data set that a configuration names. cache: a folder for what is made on the way."""
    if config.kind == "puppets":
        return PuppetFrames(config, cache)
    shards, black = read_shards(Path(config.folder)), config.background == "black"
    frames = StreamedFrames(shards, black) if shards else VideoFrames(read_layout(Path(config.folder)), black)
    if shards and config.crops:
        raise InputError(f"{config.folder} is streamed, and latents of a stream are not kept: set data.crops to 0.")
    for video in frames.videos:
        if 4 * min(video.width, video.height) < config.size:
            raise InputError(f"{video.name} has less than a quarter of {config.size} pixels: give larger pictures.")
    return frames
