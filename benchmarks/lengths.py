"""Memory against length: the embedded model makes videos of pictures so small that thousands of frames take minutes.

python -m benchmarks.lengths --plot docs/memory.svg
"""

import argparse
import sys
import time
from collections.abc import Sequence

import psutil
import torch
from PIL import Image
from tqdm import tqdm

from magicdance_core.commands.common import count, location, print_table, write_report
from magicdance_core.evaluation import plots
from magicdance_core.evaluation.page import write_text
from magicdance_core.models import MotionModule
from magicdance_core.pipeline import MagicDancePipeline

from .command import benchmark_parser, run_benchmark

SIDE, STEPS = 16, 2
LENGTHS = (100, 300, 1000, 3000, 10_000)


def benchmark_lengths(lengths: Sequence[int], seed: int = 0) -> list[dict]:
    """Stream videos of these lengths, one after the other; needs no GPU.

    16 x 16 pixels, 2 steps, a motion module with random weights in windows of 16 frames that share 4. For each length
    frames; alive, most latents between their first and their last step; first, windows before the first frames were
    ready; megabytes, most memory of the process; seconds.
    """
    torch.manual_seed(seed)
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


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("lengths", __doc__, _run)
    parser.add_argument(
        "--frames", type=count, nargs="+", default=LENGTHS, metavar="N", help="lengths (default: 100 to 10,000)"
    )
    parser.add_argument("--plot", type=location, metavar="SVG", help="plot memory against length")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    if options.plot:
        plots.library()  # a missing one is told before the measurement
    rows = benchmark_lengths(options.frames, options.seed)
    for row in rows:
        print_table(row)
    write_report({str(row["frames"]): row for row in rows}, options.json)
    if options.plot:
        write_text(options.plot, plot_lengths(rows))
        print(f"plot in {options.plot}")


if __name__ == "__main__":
    sys.exit(main())
