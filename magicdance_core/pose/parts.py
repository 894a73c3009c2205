"""Leave out face landmarks and hands of poses, as a detector does that misses them."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from .keypoints import PARTS, PoseFrame

HIDEABLE = ("face", "left_hand", "right_hand")


def without_parts(frame: PoseFrame, hidden: Collection[str]) -> PoseFrame:
    """Return the frame without some of `HIDEABLE`: these points are missing in all people."""
    if not hidden:
        return frame
    missing = {part: np.zeros((PARTS[part], 3), np.float32) for part in hidden}
    return replace(frame, people=tuple(replace(person, **missing) for person in frame.people))
