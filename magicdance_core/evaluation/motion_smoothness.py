"""VBench's motion smoothness: how well every second frame follows from its neighbours, by frame interpolation.

Source: Huang et al., "VBench" (2024, arXiv 2311.17982), and the numbers of its published code: whole frames, which it
scales only on GPUs with too little memory; the made frame in 8 bits, cut off and not rounded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import InputError
from .frame_interpolation import MIN_SIDE, UNIT, FrameInterpolator
from .metric_weights import load_metric_network

WINDOW = 3  # frames: the one left out, and its neighbours
SMALLEST = MIN_SIDE - UNIT + 1  # pixels a side, which are padded to MIN_SIDE


@dataclass(frozen=True)
class SmoothnessExtractor:
    """Scores of frames by AMT-S, see `smoothness`. It counts on being given frames from an even one on."""

    network: FrameInterpolator
    device: torch.device
    name: str = "amt"
    window: int = WINDOW

    @classmethod
    def from_file(cls, path: Path, device: torch.device) -> SmoothnessExtractor:
        """Load AMT-S. Raises InputError if the file is of another network."""
        return cls(load_metric_network(FrameInterpolator(), path).to(device), device)

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame as it is. Raises InputError if it is too small for the network."""
        height, width = frame.shape[:2]
        if min(height, width) < SMALLEST:
            raise InputError(
                f"A frame has {width} x {height} pixels, motion smoothness needs at least {SMALLEST} a side; give "
                "larger frames, or take amt-s.pth out of the folder of --weights."
            )
        return frame

    def extract(self, prepared: np.ndarray) -> np.ndarray:
        return smoothness(prepared, self.interpolate)

    @torch.inference_mode()
    def interpolate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the frame between two, all uint8 [H, W, 3]. Raises InputError if the output is not finite."""
        height, width = first.shape[:2]
        left, top = -width % UNIT // 2, -height % UNIT // 2
        padding = left, -width % UNIT - left, top, -height % UNIT - top
        pair = torch.from_numpy(np.stack([first, second])).to(self.device).permute(0, 3, 1, 2).float() / 255
        padded = F.pad(pair, padding, mode="replicate")
        made = self.network(padded[:1], padded[1:])[0, :, top : top + height, left : left + width]
        if not torch.isfinite(made).all():
            raise InputError("The network amt gives values that are not finite; check its weights.")
        return (made * 255).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


def smoothness(frames: np.ndarray, interpolate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return VBench's motion smoothness of all frames but the first and the last, float32 [F - 2] in [0, 1].

    1 minus the mean absolute difference to the frame that is interpolated from both neighbours, in full range. Frames
    2, 4 and so on, counted from 0, are only neighbours and have NaN.
    frames: uint8 [F, H, W, 3]. interpolate: two such frames to the one between.
    Raises InputError for fewer than three frames.
    """
    if len(frames) < WINDOW:
        raise InputError(
            f"A video has {len(frames)} frame{'s' * (len(frames) != 1)}, motion smoothness needs at least {WINDOW}; "
            "give a longer one."
        )
    values = np.full(len(frames) - 2, np.nan, np.float32)
    for number in range(0, len(values), 2):
        made = interpolate(frames[number], frames[number + 2])
        values[number] = 1 - np.abs(made.astype(int) - frames[number + 1]).mean() / 255
    return values


def smoothness_of_frames(values: np.ndarray, frames: int) -> np.ndarray:
    """Return the motion smoothness of each frame, NaN where there is none: float64 [frames] of `smoothness`' values."""
    scores = np.full(frames, np.nan)
    scores[1 : 1 + len(values)] = values
    return scores
