"""Resample the frames of a video, a folder or an animation to a constant rate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import numpy as np

from ..files import existing, existing_file
from ..limits import check_fps
from .pictures import WHITE, Colour
from .read import frame_times, is_picture, is_timed, read_frames, timed_frames
from .timing import MAX_HOLD, resample, resample_numbers
from .video import open_video

__all__ = ["DATASET_FPS", "MAX_HOLD", "ResampledFrames", "hold_damaged", "resample"]

DATASET_FPS = 30.0


def hold_damaged(pictures: Iterable[np.ndarray | None]) -> Iterator[np.ndarray]:
    """Yield as many pictures: where one is damaged (None), the one before; at the beginning the first readable one.

    Yields nothing if none is readable.
    """
    waiting, last = 0, None
    for picture in pictures:
        last = last if picture is None else picture
        if last is None:
            waiting += 1
        else:
            yield from repeat(last, 1 + waiting)
            waiting = 0


@dataclass
class ResampledFrames:
    """The frames of a file or folder at a constant rate, decoded while iterating, as often as wanted.

    Yields uint8 [H, W, 3], RGB, upright, `fps` per second if the source has times, else each frame once; None where a
    video is damaged. Repeated frames are the same object. damaged: number of errors in the last iteration.
    """

    path: Path
    fps: float = DATASET_FPS
    background: Colour = WHITE
    damaged: int = field(default=0, init=False)

    def __post_init__(self):
        self.fps = check_fps(self.fps)
        self.path = existing(self.path)
        self.timed = is_timed(self.path)
        if not self.timed:
            self._frames = read_frames(self.path, self.background)
        elif not is_picture(self.path):
            with open_video(existing_file(self.path)):  # refuse other files at once
                pass

    @property
    def count(self) -> int | None:
        """Return the number of frames if it is known before reading, else None."""
        return None if self.timed else self._frames.count

    def __iter__(self) -> Iterator[np.ndarray | None]:
        return (picture for _, picture in self.numbered())

    def numbered(self) -> Iterator[tuple[int | None, np.ndarray | None]]:
        """Yield the frames with their numbers in the source; (None, None) where a video is damaged."""
        self.damaged = 0
        if not self.timed:
            return ((number, np.asarray(picture)) for number, picture in enumerate(self._frames))
        return resample_numbers(timed_frames(self.path, self._count, self.background), self.fps)

    def numbers(self) -> list[int | None]:
        """Return the number of the source's frame that each picture shows; None where a video is damaged."""
        if not self.timed:
            return list(range(self._frames.count or 0))
        return [number for number, _ in resample_numbers(frame_times(self.path), self.fps)]

    def _count(self, error: Exception, done: int) -> None:
        self.damaged += 1
