"""Data sets of one interface (`frame_sets.FrameSet`), and samples drawn from them by number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .data_config import DataConfig
    from .frame_sets import FrameSet


def open_frames(config: DataConfig, cache: Path) -> FrameSet:
    """Return the data set of a configuration. cache: folder for drawn puppets, and for streams while they are opened.

    Raises InputError if the folder holds no data set, or one that does not fit the configuration.
    """
    from .layouts import read_layout  # imported here, so that configurations are read without torch
    from .parquet_shards import read_shards
    from .puppet_frames import PuppetFrames
    from .streaming import StreamedFrames
    from .video_frames import VideoFrames

    if config.kind == "puppets":
        return PuppetFrames(config, cache)
    assert config.folder is not None
    shards, black = read_shards(Path(config.folder)), config.background == "black"
    frames = StreamedFrames(shards, black, cache) if shards else VideoFrames(read_layout(Path(config.folder)), black)
    if shards and config.crops:
        raise InputError(f"{config.folder} is streamed, and latents of streams are not cached: set data.crops to 0.")
    for video in frames.videos:
        if 4 * min(video.width, video.height) < config.size:
            raise InputError(
                f"{video.name} has {video.width} x {video.height} pixels, less than a quarter of data.size "
                f"({config.size}): give larger pictures."
            )
    return frames
