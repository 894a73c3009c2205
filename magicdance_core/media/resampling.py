"""Resample the frames of a video, a folder or an animation to a constant rate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..limits import MAX_FRAMES, check_fps
from .read import read_frames
from .video import Timed, decode

DATASET_FPS = 30.0
# Seconds that a frame is repeated at most when the next ones are unreadable; then there is none, so that the pose is
# interpolated, not frozen.
MAX_HOLD = 0.12


@dataclass
class ResampledFrames:
    """The frames of a file or folder at a constant rate, decoded while iterating, as often as wanted.

    Yields uint8 [H, W, 3], RGB, upright, `fps` per second if the source has times, else each frame once; None where a
    video is damaged. Repeated frames are the same object. damaged: number of errors in the last iteration.
    """

    path: Path
    fps: float = DATASET_FPS
    damaged: int = field(default=0, init=False)

    def __post_init__(self):
        self.fps = check_fps(self.fps)
        self._frames = read_frames(self.path)
        self._is_video = self._frames.count is None

    @property
    def timed(self) -> bool:
        """Return whether the source has times; a folder of pictures has none."""
        return self._is_video or self._frames.fps is not None

    @property
    def count(self) -> int | None:
        """Return the number of frames if it is known before reading, else None."""
        return None if self.timed else self._frames.count

    def __iter__(self) -> Iterator[np.ndarray | None]:
        self.damaged = 0
        if self._is_video:
            return resample(decode(self.path, self._count), self.fps)
        pictures, fps = map(np.asarray, self._frames), self._frames.fps
        if fps is None:
            return pictures
        return resample(((k / fps, picture) for k, picture in enumerate(pictures)), self.fps)

    def _count(self, error: Exception, done: int) -> None:
        self.damaged += 1


def resample(timed: Iterable[Timed], fps: float) -> Iterator[np.ndarray | None]:
    """Yield for each time k / fps, from the first frame to the last, the nearest frame.

    None is yielded if that is more than MAX_HOLD seconds away. A frame whose time is not after the one before is
    dropped. Raises InputError if the frames last longer than limits.py allows.
    """
    previous, k = None, 0
    for time, picture in timed:
        if previous is not None and time <= previous[0]:
            continue
        if time * fps > MAX_FRAMES:
            raise InputError(f"The video is {time:.0f} seconds long: cut it to {MAX_FRAMES / fps:.0f} or less.")
        while previous is not None and k / fps - previous[0] < time - k / fps:
            yield previous[1] if k / fps - previous[0] <= MAX_HOLD else None
            k += 1
        while previous is not None and k / fps < time:
            yield picture if time - k / fps <= MAX_HOLD else None
            k += 1
        previous = time, picture
    if previous is not None:
        yield previous[1]
