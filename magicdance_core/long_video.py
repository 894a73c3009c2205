"""Memory against length: the embedded model makes videos of pictures so small that thousands of frames take minutes."""

import time
from collections.abc import Sequence

import psutil
import torch
from PIL import Image

from .models import MotionModule
from .pipeline import MagicDancePipeline

SIDE, STEPS = 16, 2


def benchmark_lengths(lengths: Sequence[int]) -> list[dict]:
    """Stream videos of these lengths, one after the other; needs no GPU.

    16 x 16 pixels, 2 steps, a motion module with random weights in windows of 16 frames that share 4. For each length
    frames; alive, most latents between their first and their last step; first, windows before the first frames were
    ready; megabytes, most memory of the process; seconds.
    """
    torch.manual_seed(0)
    pipe = MagicDancePipeline.from_embedded()
    pipe.motion = MotionModule.for_unet(pipe.unet)
    process, picture = psutil.Process(), Image.new("RGB", (SIDE, SIDE))
    rows = []
    for frames in lengths:
        start, alive, first, most = time.perf_counter(), 0, 0, 0
        poses = (picture for _ in range(frames))
        for bunch in pipe.stream(picture, poses, frames, num_inference_steps=STEPS):
            alive = max(alive, len(bunch.walk.alive))
            first = first or sum(bunch.walk.done)
            most = max(most, process.memory_info().rss)
        seconds = time.perf_counter() - start
        rows.append(
            {"frames": frames, "alive": alive, "first": first, "megabytes": round(most / 1e6), "seconds": seconds}
        )
    return rows
