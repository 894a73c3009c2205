"""What a data set is: videos of one person each, read a frame at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..pose.keypoints import Person

REGIONS = ("head", "left_hand", "right_hand")


@dataclass(frozen=True)
class Video:
    """name: of messages. frames: how many. width, height: in pixels. split: "train", "validation" or "test".

    runs: the stretches without a gap in time, (first, how many); empty where all frames are one. caption: a text of
    what is seen; "" where there is none.
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
    """image, pose: uint8 `[H, W, 3]`, RGB, the pose map in the picture's size.

    regions: float32 `[3, 4]`, boxes x0, y0, x1, y1 in pixels of `REGIONS`; four zeros where a part is not seen.
    """

    image: np.ndarray
    pose: np.ndarray
    regions: np.ndarray


class FrameSet(Protocol):
    """Videos of one person each; puppets and real videos alike.

    fingerprint: a text that changes with anything that changes the frames.
    """

    videos: Sequence[Video]
    fingerprint: str

    def read(self, video: int, frame: int) -> Frame:
        """A frame, both numbers from 0. Called from several processes at once. InputError where it cannot be read."""
        ...


def regions_of(person: Person) -> np.ndarray:
    """Boxes of head and hands, float32 `[3, 4]`, not clipped to the picture.

    The head is the face's bounding box widened by half, so that it holds hair and ears; hands are widened by a
    quarter.
    """
    boxes = np.zeros((len(REGIONS), 4), np.float32)
    for row, (part, widen) in enumerate((("face", 0.75), ("left_hand", 0.625), ("right_hand", 0.625))):
        points = getattr(person, part)
        seen = points[points[:, 2] > 0, :2]
        if len(seen) > 1:
            low, high = seen.min(0), seen.max(0)
            centre, half = (low + high) / 2, (high - low).max() * widen
            boxes[row] = *(centre - half), *(centre + half)
    return boxes
