"""How near to the clicks of a metronome a dance's accents come when its time is matched to them.

    python -m benchmarks.beat

Unseen puppets dance at their own tempo, the clicks have another. Accents are found again in the matched motion.
"""

import argparse
import sys

import numpy as np

from magicdance_core.commands.common import positive_int, write_report
from magicdance_core.evaluation.bootstrap import summarize
from magicdance_core.evaluation.puppet_scores import SEED_STRIDE
from magicdance_core.evaluation.table import Cell, Column, Table, as_data, as_text
from magicdance_core.media.sound_curves import find_onsets
from magicdance_core.pose.beat import find_accents, match_to_beats, motion_speed
from magicdance_core.puppets import Choreography, Identity, puppet_clip

from .command import benchmark_parser, run_benchmark

FPS, RATE = 30.0, 16_000
TEMPI, OFFSETS = (80.0, 130.0), (0.1, 0.6)  # beats a minute, seconds
COLUMNS = (
    Column("distance", "accent to beat, s", 3, -1),
    Column("fastest", "fastest, times", 2, 0),
    Column("slowest", "slowest, times", 2, 0),
)


def evaluate_beat(seed: int = 0, people: int = 16, frames: int = 600) -> Table:
    """Return the mean distance of accents to the nearest click, and the range of speeds, before and after."""
    before, after = [], []
    for number in range(people):
        rng = np.random.default_rng((seed, number))
        times = np.arange(rng.uniform(*OFFSETS), frames / FPS, 60 / rng.uniform(*TEMPI))
        key = SEED_STRIDE * seed + number
        motion = puppet_clip(Identity.from_seed(key, "test"), Choreography.from_seed(key, "test"), range(frames))
        match = match_to_beats(motion, find_onsets(metronome(times, frames / FPS), RATE).times, FPS)
        steps = np.diff(match.sources)
        for rows, video, speeds in ((before, motion, np.ones(1)), (after, match.frames, steps)):
            accents = find_accents(motion_speed(video, FPS), FPS)
            distances = np.abs(accents[:, None] - times).min(axis=1)
            rows.append({"distance": distances, "fastest": speeds.max()[None], "slowest": speeds.min()[None]})
    cells = {}
    for name, rows in (("as danced", before), ("matched", after)):
        means, intervals = summarize(rows)
        means |= {"fastest": max(float(row["fastest"][0]) for row in rows)}
        means |= {"slowest": min(float(row["slowest"][0]) for row in rows)}
        cells[name] = {
            column.key: Cell(means[column.key], intervals[column.key] if column.better else None) for column in COLUMNS
        }
    return Table(COLUMNS, cells)


def metronome(times: np.ndarray, seconds: float) -> np.ndarray:
    """Return decaying tones at some times, over faint noise: float [1, samples] at RATE."""
    sound = np.random.default_rng(0).normal(0, 0.002, (1, round(seconds * RATE)))
    decay = np.arange(round(0.05 * RATE)) / RATE
    for time in times:
        part = sound[:, round(time * RATE) :][:, : len(decay)]
        part += (np.sin(2 * np.pi * 900 * decay) * np.exp(-decay / 0.012))[: part.shape[1]]
    return sound


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("beat", __doc__, _run)
    parser.add_argument("--identities", type=positive_int, default=16, metavar="N", help="people (default: 16)")
    parser.add_argument("--frames", type=positive_int, default=600, metavar="N", help="of each (default: 600)")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    table = evaluate_beat(options.seed, options.identities, options.frames)
    print(as_text(table))
    write_report({"seed": options.seed, **as_data(table)}, options.json)


if __name__ == "__main__":
    sys.exit(main())
