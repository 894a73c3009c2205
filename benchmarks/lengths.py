"""Memory against the length of a video, with pictures so small that thousands of frames take minutes.

python -m benchmarks.lengths --plot docs/memory.svg
python -m benchmarks.lengths --size 128 --motion embedded --frames 16 64 96
"""

import argparse
import contextlib
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import torch
from PIL import Image
from tqdm import tqdm

from magicdance_core.checkpoints import EMBEDDED_MOTION
from magicdance_core.commands.common import file_path, positive_int, print_table, write_report
from magicdance_core.evaluation import plots
from magicdance_core.files import write_text
from magicdance_core.models import MotionModule
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.sampling import SamplingSettings

from .command import benchmark_parser, run_benchmark

SIDE, STEPS = 16, 2
RANDOM, EMBEDDED = "random", "embedded"
LENGTHS = (100, 300, 1000, 3000, 10_000)


def measure_lengths(lengths: Sequence[int], seed: int = 0, size: int = SIDE, motion: str = RANDOM) -> list[dict]:
    """Return the result of `measure_length` for each length, each of a new process.

    In one process a later run has the memory that the allocator kept of the earlier ones.
    """
    new = multiprocessing.get_context("spawn")
    with new.Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(measure_length, (frames, seed, size, motion)) for frames in lengths]


def measure_length(frames: int, seed: int = 0, size: int = SIDE, motion: str = RANDOM) -> dict:
    """Stream a video of this length with the embedded model; needs no GPU.

    size: sides of the pictures in pixels. motion: the embedded module, whose temporal decoder sees neighbouring frames,
    or one with random weights without such a decoder; 2 steps, windows of 16 frames that share 4. Returns frames;
    alive, the most latents between their first and their last step; first, the windows computed before the first frames
    were ready; decoded, the most frames that were ready together; megabytes, peak memory of the process; seconds.
    """
    torch.manual_seed(seed)
    pipe = MagicDancePipeline.from_embedded()
    if motion == EMBEDDED:
        pipe.load_motion(EMBEDDED_MOTION)
    else:
        pipe.motion = MotionModule.for_unet(pipe.unet)
    picture, alive, first, decoded = Image.new("RGB", (size, size)), 0, 0, 0
    poses = (picture for _ in range(frames))
    start = time.perf_counter()
    with _peak_memory() as peak:
        chunks = pipe.stream(picture, poses, frames, settings=SamplingSettings(STEPS))
        for chunk in tqdm(chunks, desc=f"{frames} frames", unit="window"):
            alive = max(alive, len(chunk.schedule.active))
            first = first or sum(chunk.schedule.done)
            decoded = max(decoded, len(chunk.frames))
    seconds = time.perf_counter() - start
    return {
        "frames": frames, "alive": alive, "first": first, "decoded": decoded, "megabytes": round(peak() / 1e6),
        "seconds": seconds,
    }  # fmt: skip


@contextlib.contextmanager
def _peak_memory() -> Iterator[Callable[[], int]]:
    """Yield a function that returns the most bytes that this process held within the block, looked up every 5 ms."""
    process, ended = psutil.Process(), threading.Event()
    most = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.005):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: most
    finally:
        ended.set()
        watcher.join()


def plot_lengths(rows: Sequence[dict]) -> str:
    """Plot memory against length from the rows of `measure_lengths`; return the text of an SVG."""
    figures, _ = plots.import_matplotlib()
    figure = figures.Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.subplots()
    frames, megabytes = ([row[key] for row in rows] for key in ("frames", "megabytes"))
    axes.plot(frames, megabytes, "o-", color=plots.COLOURS[0])
    for point in zip(frames, megabytes):
        axes.annotate(f"{point[1]:,} MB", point, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.set_xscale("log")
    axes.set_xticks(frames, [f"{number:,}" for number in frames])
    axes.minorticks_off()
    axes.margins(x=0.1)
    axes.set_ylim(0, 1.3 * max(megabytes))
    axes.set_xlabel("frames", fontsize=9)
    axes.set_ylabel("peak memory, MB", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return plots.as_svg(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("lengths", __doc__, _run)
    parser.add_argument(
        "--frames", type=positive_int, nargs="+", default=LENGTHS, metavar="N", help="lengths (default: 100 to 10,000)"
    )
    parser.add_argument("--size", type=positive_int, default=SIDE, metavar="PIXELS", help=f"default: {SIDE}")
    parser.add_argument("--motion", choices=(RANDOM, EMBEDDED), default=RANDOM, help="the module (default: random)")
    parser.add_argument("--plot", type=file_path, metavar="SVG", help="plot memory against length")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    if options.plot:
        plots.import_matplotlib()  # fails before the measurement, not after it
    rows = measure_lengths(options.frames, options.seed, options.size, options.motion)
    for row in rows:
        print_table(row)
    write_report({str(row["frames"]): row for row in rows}, options.json)
    if options.plot:
        write_text(options.plot, plot_lengths(rows))
        print(f"plot in {options.plot}")


if __name__ == "__main__":
    sys.exit(main())
