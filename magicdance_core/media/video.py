"""Decode videos frame by frame, upright, with times."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..limits import check_size, plausible_fps

Timed = tuple[float, np.ndarray]  # seconds, uint8 [H, W, 3] RGB
# Formats without playlists, which could name other files and addresses.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,h264,hevc,ivf,wav,mp3,aac,flac"
FALLBACK_FPS = 30.0  # of videos without times


@contextlib.contextmanager
def open_video(path: Path) -> Iterator:
    """Open a video file and yield its PyAV container. Raises InputError if it cannot be read."""
    import av

    try:
        container = av.open(str(path), options={"format_whitelist": FORMATS, "protocol_whitelist": "file"})
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    with container:
        if not container.streams.video:
            raise InputError(f"{path} has no picture track: give a video.")
        context = container.streams.video[0].codec_context
        if context.width or context.height:  # otherwise each frame is checked
            check_size(context.width, context.height, f"{path}, a video")
        yield container


def average_rate(path: Path) -> float | None:
    """Return the frames per second of a video, None if unknown."""
    with open_video(path) as container:
        rate = container.streams.video[0].average_rate
    return plausible_fps(rate) if rate else None


def decode(path: Path, damaged: Callable[[Exception, int], None]) -> Iterator[Timed]:
    """Yield the frames of a video with their times in seconds since the first, rotation applied, alpha dropped.

    damaged: called with the error and the number of frames so far if something cannot be decoded; unless it raises,
    decoding continues behind it. Raises InputError if the file cannot be opened.
    """
    import av

    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        interval = 1 / (plausible_fps(stream.average_rate or 0) or FALLBACK_FPS)
        packets, time, start, done = container.demux(stream), -interval, None, 0
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                decoded = packet.decode()
            except av.FFmpegError as error:
                damaged(error, done)
                if isinstance(error, av.EOFError):
                    return
                continue
            for frame in decoded:
                time = time + interval if frame.time is None else frame.time
                start = time if start is None else start
                done += 1
                check_size(frame.width, frame.height, f"{path}, a video")
                # PyAV before 17 respects the colour space of a file only if a range is given; RGB has the full range.
                rgb = frame.to_ndarray(format="rgb24", dst_color_range="JPEG")
                upright = np.rot90(rgb, frame.rotation // 90 % 4)
                yield time - start, np.ascontiguousarray(upright)


def unreadable(path: Path, error: Exception, done: int = 0) -> InputError:
    """Return the InputError for a video that cannot be decoded, or only its first `done` frames."""
    reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
    reason = f"it breaks off after {done} frames, {reason}" if done else reason
    return InputError(f"{path} cannot be read as a video ({reason}): give an undamaged file.")
