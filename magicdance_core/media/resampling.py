"""Pictures of a video, a folder or an animation at an even rate."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..limits import MAX_FRAMES, check_fps
from .read import read_frames
from .video import Timed, decode

DATASET_FPS = 30.0
# Where no picture was readable within this many seconds, there is none: the pose is interpolated, not frozen.
LONGEST_HOLD = 0.12


@dataclass
class ResampledFrames:
    """The pictures of a file, to be read as often as wanted, one at a time.

    Iterating gives uint8 [H, W, 3], RGB, upright, at `fps` a second if the source has times, else one by one; None
    where a video is damaged. A picture that is shown longer comes as the same object again. damaged counts what could
    not be decoded in the last reading.
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
        """Whether the source has times: a folder of pictures has none."""
        return self._is_video or self._frames.fps is not None

    @property
    def count(self) -> int | None:
        """How many pictures there will be, where that is known before reading."""
        return None if self.timed else self._frames.count

    def __iter__(self) -> Iterator[np.ndarray | None]:
        self.damaged = 0
        if self._is_video:
            return resample(decode(self.path, self._count), self.fps)
        pictures = map(np.asarray, self._frames)
        if not self.timed:
            return pictures
        return resample(((k / self._frames.fps, picture) for k, picture in enumerate(pictures)), self.fps)

    def _count(self, error: Exception, done: int) -> None:
        self.damaged += 1


def resample(timed: Iterable[Timed], fps: float) -> Iterator[np.ndarray | None]:
    """For each moment k / fps from the first picture to the last the picture nearest in time; None where that is more
    than LONGEST_HOLD seconds away. A picture whose time does not lie after the one before is left out."""
    previous, k = None, 0
    for time, picture in timed:
        if previous is not None and time <= previous[0]:
            continue
        if time * fps > MAX_FRAMES:
            raise InputError(f"The video goes on until {time:.0f} seconds; cut it to {MAX_FRAMES / fps:.0f} or less.")
        while previous is not None and k / fps - previous[0] < time - k / fps:
            yield previous[1] if k / fps - previous[0] <= LONGEST_HOLD else None
            k += 1
        while previous is not None and k / fps < time:
            yield picture if time - k / fps <= LONGEST_HOLD else None
            k += 1
        previous = time, picture
    if previous is not None:
        yield previous[1]
