"""A skeleton over the picture it was found in."""

import numpy as np

from .draw import draw_pose
from .keypoints import PoseFrame


def overlay(picture: np.ndarray, frame: PoseFrame, opacity: float = 0.8, **parts: bool) -> np.ndarray:
    """The frame's pose map laid over a picture: uint8 [H, W, 3], RGB, like the picture, which may have another size
    than the frame's canvas. opacity of the strokes: 0 to 1. parts: body, hands, face, see draw_pose."""
    height, width = picture.shape[:2]
    strokes = draw_pose(frame, width, height, **parts).astype(np.float32)
    cover = opacity * (strokes.max(axis=-1, keepdims=True) > 0)
    return (picture * (1 - cover) + strokes * cover + 0.5).astype(np.uint8)
