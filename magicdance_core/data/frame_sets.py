"""The interface of data sets: videos of one person each, read frame by frame."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..pose.keypoints import Person

REGIONS = ("head", "left_hand", "right_hand")


@dataclass(frozen=True)
class Video:
    """Description of a video.

    name: used in messages. frames: their number. width, height: in pixels. split: "train", "validation" or "test".
    runs: the stretches without a gap in time, (first frame, number of frames); empty if all frames are one stretch.
    caption: a text that describes the video; "" if there is none.
    """

    name: str
    frames: int
    width: int
    height: int
    split: str = "train"
    runs: tuple[tuple[int, int], ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Frame:
    """A frame and its pose.

    image, pose: RGB, uint8 `[H, W, 3]`; the pose map has the size of the picture.
    regions: boxes x0, y0, x1, y1 of `REGIONS` in pixels, float32 `[3, 4]`; four zeros for a part that is not visible.
    """

    image: np.ndarray
    pose: np.ndarray
    regions: np.ndarray


class FrameSet(Protocol):
    """Videos of one person each, puppets or real ones.

    fingerprint: a text that changes with anything that changes the frames.
    """

    @property
    def videos(self) -> Sequence[Video]: ...

    @property
    def fingerprint(self) -> str: ...

    def read(self, video: int, frame: int, hidden: Collection[str] = (), mirrored: bool = False) -> Frame:
        """Return a frame; both numbers count from 0. Called by several processes at once.

        hidden: parts of `pose.parts.HIDEABLE` that its pose map lacks; the regions stay. mirrored: flip the picture,
        and draw the person with left and right exchanged.
        Raises InputError if the frame cannot be read.
        """
        ...


def regions_of(person: Person) -> np.ndarray:
    """Return boxes of head and hands, float32 `[3, 4]`, not clipped to the picture.

    The head is the face's bounding box enlarged by half, which includes hair and ears; hands are enlarged by a quarter.
    """
    boxes = np.zeros((len(REGIONS), 4), np.float32)
    for row, (part, half_side) in enumerate((("face", 0.75), ("left_hand", 0.625), ("right_hand", 0.625))):
        points = getattr(person, part)
        visible = points[points[:, 2] > 0, :2]
        if len(visible) > 1:
            low, high = visible.min(0), visible.max(0)
            centre, half = (low + high) / 2, (high - low).max() * half_side
            boxes[row] = *(centre - half), *(centre + half)
    return boxes
