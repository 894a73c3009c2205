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
    from .mixed_frames import MixedFrames  # imported here, so that configurations are read without torch
    from .puppet_frames import PuppetFrames
    from .video_frames import VideoFrames

    if config.kind == "puppets":
        return PuppetFrames(config, cache)
    if not config.sets:
        assert config.folder is not None
        return _open_videos(config, config.folder, cache)
    opened = [_open_videos(config, one.folder, cache) for one in config.sets]
    for frames, one in zip(opened, config.sets):
        if not isinstance(frames, VideoFrames):
            raise InputError(f"{one.folder} is streamed, and streams cannot be mixed: export all videos as one set.")
    return MixedFrames(opened, [Path(one.folder).name for one in config.sets], [one.weight for one in config.sets])


def _open_videos(config: DataConfig, folder: str, cache: Path) -> FrameSet:
    from .layouts import read_layout
    from .parquet_shards import read_shards
    from .streaming import StreamedFrames
    from .video_frames import VideoFrames

    shards, black = read_shards(Path(folder)), config.background == "black"
    frames = StreamedFrames(shards, black, cache) if shards else VideoFrames(read_layout(Path(folder)), black)
    if shards and config.crops:
        raise InputError(f"{folder} is streamed, and latents of streams are not cached: set data.crops to 0.")
    if shards and config.bucket:
        raise InputError(f"{folder} is streamed in a fixed order, which has no buckets: set data.bucket to 0.")
    for video in frames.videos:
        if 4 * min(video.width, video.height) < config.size:
            raise InputError(
                f"{video.name} has {video.width} x {video.height} pixels, less than a quarter of data.size "
                f"({config.size}): give larger pictures."
            )
    return frames
