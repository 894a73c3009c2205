"""Memory against length: the embedded model makes videos of pictures so small that thousands of frames take minutes."""

import time
from collections.abc import Sequence

import psutil
import torch
from PIL import Image
from tqdm import tqdm

from .evaluation import plots
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
        bunches = pipe.stream(picture, poses, frames, num_inference_steps=STEPS)
        for bunch in tqdm(bunches, desc=f"{frames} frames", unit="window"):
            alive = max(alive, len(bunch.walk.alive))
            first = first or sum(bunch.walk.done)
            most = max(most, process.memory_info().rss)
        seconds = time.perf_counter() - start
        rows.append(
            {"frames": frames, "alive": alive, "first": first, "megabytes": round(most / 1e6), "seconds": seconds}
        )
    return rows


def plot_lengths(rows: Sequence[dict]) -> str:
    """Memory against length, of what `benchmark_lengths` measured: the text of an SVG file."""
    figures, _ = plots.library()
    figure = figures.Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    frames, megabytes = ([row[key] for row in rows] for key in ("frames", "megabytes"))
    axes.plot(frames, megabytes, "o-", color=plots.COLOURS[0])
    for place in zip(frames, megabytes):
        axes.annotate(f"{place[1]:,} MB", place, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks(frames, [f"{number:,}" for number in frames])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.set_ylim(0, 1.3 * max(megabytes))
    axes.set_xlabel("frames", fontsize=9)
    axes.set_ylabel("most memory, MB", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return plots.as_svg(figure)
