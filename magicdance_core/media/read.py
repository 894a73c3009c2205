"""Read folders of pictures, animations and videos; frames are decoded one by one and not kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import existing, existing_file, files_with_suffix
from . import animations
from .pictures import PICTURE_SUFFIXES, WHITE, Colour, decode_picture, read_picture
from .timing import Pace, Timed, animation_pace, resample, video_pace
from .video import VIDEO_SUFFIXES, Damaged, decode, unreadable, video_times

__all__ = [
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "Frames",
    "count_frames",
    "frame_times",
    "decode_picture",
    "is_timed",
    "read_frames",
    "read_picture",
    "timed_frames",
]


@dataclass(frozen=True)
class Frames:
    """Frames at an even rate that are decoded while iterating, as often as wanted; yields RGB pictures.

    count: number of frames, None if unknown before reading. fps: frames per second, None if the source has no times.
    names: file names without suffix, None if the frames are not single files.
    """

    read: Callable[[], Iterator[Image.Image]]
    count: int | None = None
    fps: float | None = None
    names: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Image.Image]:
        return self.read()


def read_frames(path: str | Path, background: Colour = WHITE) -> Frames:
    """Return the frames of a folder of pictures, an animated picture or a video.

    Pictures of a folder are sorted by name, with numbers by value; other files are ignored. Animations and videos have
    the rate that the times of their frames show: each frame is yielded once, but where pictures are held for long, the
    clip is resampled to its usual rate, and frames that an animation joined are repeated. Videos are decoded once for
    their times, and again while iterating. background: put behind transparent pixels.
    Raises InputError if nothing can be read; while iterating, if a frame cannot be read.
    """
    path = existing(path)
    if path.is_dir():
        files = files_with_suffix(path, PICTURE_SUFFIXES)
        if not files:
            raise InputError(f"{path} has no pictures: give a folder with one picture per frame, or a video.")

        def read() -> Iterator[Image.Image]:
            return (read_picture(file, background, quiet=number > 0) for number, file in enumerate(files))

        return Frames(read, len(files), names=tuple(file.stem for file in files))
    return (_animation if is_picture(path) else _video)(existing_file(path), background)


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture or an animated picture, by its suffix."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def is_timed(path: Path) -> bool:
    """Return whether a source has times: videos and animations have, folders and single pictures have not."""
    return path.is_file() and not (is_picture(path) and len(animations.durations(path)[0]) == 1)


def count_frames(path: Path) -> int:
    """Return the number of frames that a source has of its own, before any resampling."""
    if path.is_dir():
        return len(files_with_suffix(path, PICTURE_SUFFIXES))
    return len(animations.durations(path)[0]) if is_picture(path) else len(_scan(path)[0])


def timed_frames(path: Path, damaged: Damaged, background: Colour = WHITE) -> Iterator[Timed]:
    """Yield the frames of a video or an animation as they are, with their times; see `video.decode`."""
    if not is_picture(path):
        yield from decode(path, damaged, background)
        return
    seconds = [duration / 1000 for duration in animations.durations(path)[0]]
    starts = accumulate(seconds, initial=0.0)
    for start, picture, duration in zip(starts, animations.pictures(path, background), seconds):
        yield Timed(start, np.asarray(picture), duration)


def frame_times(path: Path) -> Iterator[Timed]:
    """Yield the times of the frames of a video or an animation, with None as pictures."""
    if not is_picture(path):
        yield from video_times(path, _unused)
        return
    start = 0.0
    for milliseconds in animations.durations(path)[0]:
        yield Timed(start, None, milliseconds / 1000)
        start += milliseconds / 1000


def _animation(path: Path, background: Colour) -> Frames:
    durations, unit = animations.durations(path)
    if len(durations) == 1:
        return Frames(lambda: iter([read_picture(path, background)]), 1)
    pace = animation_pace(durations, unit)

    def read() -> Iterator[Image.Image]:
        if pace.repeats is None:
            return _resampled(timed_frames(path, _unused, background), pace.fps)
        pairs = zip(animations.pictures(path, background), pace.repeats)
        return (picture for picture, repeats in pairs for _ in range(repeats))

    return Frames(read, _count(pace, sum(durations) / 1000), pace.fps)


def _video(path: Path, background: Colour) -> Frames:
    times, end, whole = _scan(path)
    if not times:
        raise InputError(f"{path} has no frames: give a video with a picture track.")
    pace = video_pace(times, end)

    def fail(error: Exception, done: int) -> None:
        raise unreadable(path, error, done) from error

    def read() -> Iterator[Image.Image]:
        frames = decode(path, fail, background)
        if pace is None or pace.repeats:
            return (Image.fromarray(frame.picture) for frame in frames)
        return _resampled(frames, pace.fps)

    return Frames(read, _count(pace, end) if whole and pace else None, pace.fps if pace else None)


def _resampled(frames: Iterator[Timed], fps: float) -> Iterator[Image.Image]:
    return (Image.fromarray(picture) for picture in resample(frames, fps) if picture is not None)


def _count(pace: Pace, seconds: float) -> int:
    return max(1, round(seconds * pace.fps)) if pace.repeats is None else sum(pace.repeats)


def _unused(error: Exception, done: int) -> None:
    """Stand for `damaged` where nothing calls it."""


def _scan(path: Path) -> tuple[tuple[float, ...], float, bool]:
    """Return the times of a video's frames, when the last one ends, and whether all could be decoded."""
    about = path.stat()
    return _scan_once(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _scan_once(path: Path, changed: int, size: int) -> tuple[tuple[float, ...], float, bool]:
    errors: list[Exception] = []
    times, end = [], 0.0
    for frame in video_times(path, lambda error, done: errors.append(error)):
        times.append(frame.time)
        end = frame.time + frame.duration
    return tuple(times), end, not errors
