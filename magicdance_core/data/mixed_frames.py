"""Several data sets as one."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from .array_cache import digest
from .frame_sets import Frame, FrameSet, Video


class MixedFrames:
    """The videos of several data sets, one set after the other; a `frame_sets.FrameSet`.

    weights: of the sets, see `data_config.SetConfig`.
    """

    def __init__(self, sets: Sequence[FrameSet], names: Sequence[str], weights: Sequence[float]):
        """names: of the sets, which the names of their videos begin with."""
        self.sets, self.weights = list(sets), list(weights)
        self._places = [(number, video) for number, own in enumerate(sets) for video in range(len(own.videos))]
        self.videos: list[Video] = [
            replace(video, name=f"{name}/{video.name}") for own, name in zip(sets, names) for video in own.videos
        ]
        self.fingerprint = digest(tuple(own.fingerprint for own in sets))

    def numbers(self, split: str) -> list[list[int]]:
        """Return for each data set the numbers of its videos in a split."""
        found: list[list[int]] = [[] for _ in self.sets]
        for number, ((own, _), video) in enumerate(zip(self._places, self.videos)):
            if video.split == split:
                found[own].append(number)
        return found

    def read(self, video: int, frame: int, hidden: Collection[str] = (), mirrored: bool = False) -> Frame:
        """See `FrameSet.read`."""
        own, number = self._places[video]
        return self.sets[own].read(number, frame, hidden, mirrored)
