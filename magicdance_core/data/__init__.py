"""Data sets of one interface (`frame_sets.FrameSet`), and samples drawn from them by number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .data_config import DataConfig
    from .frame_sets import FrameSet


def open_frames(config: DataConfig, cache: Path) -> FrameSet:
    """Open the data set that a configuration names. cache: a folder for what is made on the way."""
    from .layouts import read_layout  # here, for configurations are read without torch
    from .parquet_shards import read_shards
    from .puppet_frames import PuppetFrames
    from .streaming import StreamedFrames
    from .video_frames import VideoFrames

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
