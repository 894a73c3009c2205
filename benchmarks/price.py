"""Quality on dances of puppets against arithmetic, for steps, schedulers and shortcuts.

    python -m benchmarks.price --steps 20 --frames 12 --out price

writes table.csv, price.svg (quality against arithmetic) and steps.svg (quality against steps) to the folder of --out,
and caches measurements there, so that the same command resumes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from magicdance_core.checkpoints import weights_fingerprint
from magicdance_core.choices import DEFAULT, DTYPES
from magicdance_core.commands.common import file_path, finite_float, load_model, positive_int, write_report
from magicdance_core.evaluation.arithmetic import (
    FRAMES,
    FULL,
    NO_SHORTCUTS,
    PUBLISHED,
    Costs,
    count_costs,
    full_size_networks,
)
from magicdance_core.evaluation.bootstrap import draw_counts, interval, mean_of_all, resampled_means
from magicdance_core.evaluation.plots import COLOURS, as_svg, import_matplotlib
from magicdance_core.evaluation.puppet_scores import SEED_STRIDE, Scene, make_scene, picture_scores
from magicdance_core.evaluation.result_cache import ResultCache
from magicdance_core.evaluation.table import Cell, Column, Table, as_csv, as_data, as_text
from magicdance_core.files import write_text
from magicdance_core.sampling import PRESETS, Control, Preset, SamplingSettings, Shortcuts
from magicdance_core.schedule import named_scheduler

from .command import add_puppet_arguments, benchmark_parser, run_benchmark
from .steadiness import CHOREOGRAPHY_FPS, stack, steadiness_scores

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from magicdance_core.pipeline import MagicDancePipeline

STEPS = (0.1, 0.2, 0.3, 0.5, 1.0)  # as fractions of the exact run's
HALF = 0.5  # fraction of the steps at which shortcuts are measured
SCHEDULERS = (DEFAULT, "dpmpp_2m", "unipc")
GUIDED = ((0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (0.2, 0.8))
EVERY = (2, 5)
POSED = (0.5, 0.8)
EXACT = "preset exact"
COLUMNS = (
    Column("arithmetic", "arithmetic", 3, -1),
    Column("psnr", "PSNR, dB", 2, +1),
    Column("against_exact", "against exact, dB", 2, +1),
    Column("psnr_moving", "moving, dB", 2, +1),
    Column("expression", "expression", 2, +1),
    Column("still", "flicker, still, 1/255", 2, -1),
    Column("moving", "change, moving, 1/255", 1, -1),
)
TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
AGAINST_STEPS = ("psnr", "psnr_moving", "expression", "still")


@cache
def full_size_costs() -> Costs:
    """Count one call of each network of the published size at 512 x 512."""
    return count_costs(full_size_networks())


def share_of_published(
    steps: int, published_steps: int, shortcuts: Shortcuts = NO_SHORTCUTS, pose: Control = FULL
) -> float:
    """Return the arithmetic of a run of 16 frames at 512 x 512, divided by that of the published procedure."""
    published = PUBLISHED * 1e9 * FRAMES * published_steps
    return full_size_costs().of_run(FRAMES, steps, shortcuts, pose) / published


@dataclass(frozen=True)
class Variant:
    """A way to sample. pose: when the Pose ControlNet acts."""

    preset: Preset
    pose: Control = Control()


def variants(exact_steps: int, scheduler: str) -> dict[str, Variant]:
    """Return the grid by names: each scheduler at several numbers of steps, each shortcut alone, the presets.

    exact_steps, scheduler: of the exact run.
    """
    grid = {}
    for name in SCHEDULERS:
        for fraction in STEPS:
            preset = Preset(fraction, name)
            label = f"{scheduler if name == DEFAULT else name}, {preset.count(exact_steps)} steps"
            grid[label] = Variant(preset)
    half = f"{Preset(HALF).count(exact_steps)} steps"
    alone = {f"guided {start:g} to {end:g}": Shortcuts(guidance=(start, end)) for start, end in GUIDED}
    alone |= {f"reference every {k}": Shortcuts(reference_every=k) for k in EVERY}
    alone |= {f"pose every {k}": Shortcuts(pose_every=k) for k in EVERY}
    grid |= {f"{half}: {name}": Variant(Preset(HALF, shortcuts=shortcuts)) for name, shortcuts in alone.items()}
    grid |= {f"{half}: pose up to {end:g}": Variant(Preset(HALF), Control(1.0, 0.0, end)) for end in POSED}
    return grid | {f"preset {name}": Variant(preset) for name, preset in PRESETS.items()}


@dataclass(frozen=True)
class SpeedSweep:
    """Measurements of variants. scores: of each variant, for each person, metric -> a value a frame."""

    variants: Mapping[str, Variant]
    exact_steps: int
    scores: dict[str, list[dict[str, np.ndarray]]] = field(default_factory=dict)

    def arithmetic(self, name: str) -> float:
        """Return the arithmetic of a whole run with the published networks; the published procedure's is 1."""
        variant = self.variants[name]
        return share_of_published(self.steps(name), self.exact_steps, variant.preset.shortcuts, variant.pose)

    def steps(self, name: str) -> int:
        """Return the number of steps of a variant."""
        return self.variants[name].preset.count(self.exact_steps)

    def table(self) -> Table:
        """Return means with 95 % intervals over people; "against_exact" pairs people, poses and noise."""
        return Table(COLUMNS, {name: self._row(name) for name in self.scores})

    def curves(self) -> dict[str, list[str]]:
        """Return, for each scheduler, the variants that differ in their number of steps only, by increasing number."""
        found: dict[str, list[str]] = {}
        for name in self.scores:
            scheduler, comma, _ = name.partition(",")
            if comma:
                found.setdefault(scheduler, []).append(name)
        return {scheduler: sorted(names, key=self.steps) for scheduler, names in found.items()}

    def _row(self, name: str) -> dict[str, Cell]:
        measured, exact = self.scores[name], self.scores[EXACT]
        columns = {key: [person[key] for person in measured] for key in measured[0]}
        columns["against_exact"] = [person["psnr"] - other["psnr"] for person, other in zip(measured, exact)]
        drawn = draw_counts(len(measured))
        row = {
            key: Cell(mean_of_all(values), interval(resampled_means(values, drawn)) if len(values) > 1 else None)
            for key, values in columns.items()
        }
        return row | {"arithmetic": Cell(self.arithmetic(name))}


def measure_price(
    pipe: MagicDancePipeline,
    seed: int = 0,
    people: int = 4,
    frames: int = 24,
    guidance_scale: float | None = None,
    folder: Path | None = None,
    exact_steps: int | None = None,
    chosen: Mapping[str, Variant] | None = None,
    fps: float = 15.0,
) -> SpeedSweep:
    """Let unseen puppets dance in every variant of the grid (or of `chosen`, which needs "preset exact").

    Each person's noise is that of its number, the same in all variants, so that they differ in nothing else. Scores a
    frame: psnr, psnr_moving, expression as in `evaluate_puppets`, still and moving as in `evaluate_steadiness`.
    folder: caches measurements, so that an interrupted run can resume. Equal variants run once.
    exact_steps: of the exact run, of which variants take a fraction; the model's default without.
    """
    exact_steps = exact_steps or pipe.defaults["num_inference_steps"]
    size, scheduler = pipe.defaults["sample_size"], pipe.scheduler
    sweep = SpeedSweep(chosen or variants(exact_steps, _short_name(scheduler)), exact_steps)
    moments = [k * CHOREOGRAPHY_FPS / fps for k in range(frames)]
    scenes = [make_scene(SEED_STRIDE * seed + k, moments, size) for k in range(people)]
    arrays, measured = ResultCache(folder), {}
    model = [weights_fingerprint(network) for network in pipe.components.networks().values()]
    scale = pipe.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
    try:
        for name, variant in tqdm(sweep.variants.items(), desc="variants", unit="variant"):
            steps, shortcuts = sweep.steps(name), variant.preset.shortcuts
            settings = SamplingSettings(steps, scale, pose_control=variant.pose, shortcuts=shortcuts)
            pipe.scheduler = named_scheduler(variant.preset.scheduler, scheduler)
            key = str([model, seed, frames, fps, _described(pipe.scheduler), steps, scale, shortcuts, variant.pose])
            if key not in measured:
                measure = partial(_measure, pipe, settings)
                measured[key] = [
                    arrays.get([key, k], partial(measure, scene, seed + k), SCORES) for k, scene in enumerate(scenes)
                ]
            sweep.scores[name] = measured[key]
    finally:
        pipe.scheduler = scheduler
    return sweep


SCORES = ("psnr", "psnr_moving", "expression", "still", "moving")


def _measure(pipe: MagicDancePipeline, settings: SamplingSettings, scene: Scene, seed: int) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    out = pipe(scene.reference, list(scene.poses), generator=generator, settings=settings)
    video = stack(list(out.frames))
    steadiness = steadiness_scores(video, scene)
    frames = [picture_scores(scene, i, {"": frame}) for i, frame in enumerate(video)]
    scores = {name: np.array([frame[name] for frame in frames]) for name in ("psnr", "psnr_moving", "expression")}
    return scores | {"still": steadiness["still"], "moving": steadiness["moving"]}


def _described(scheduler: SchedulerMixin) -> dict:
    config = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return {"kind": type(scheduler).__name__, **config}


def _short_name(scheduler: SchedulerMixin) -> str:
    return type(scheduler).__name__.removesuffix("Scheduler").lower()


def against_arithmetic(sweep: SpeedSweep) -> str:
    """Plot PSNR against arithmetic, a point a variant, a line a scheduler, presets named; return the text of an SVG."""
    figures, _ = import_matplotlib()
    figure = figures.Figure(figsize=(8, 5), layout="constrained")
    ax, table = figure.subplots(), sweep.table()

    def point(name: str) -> tuple[float, float]:
        return table.rows[name]["arithmetic"].number, table.rows[name]["psnr"].number

    curves, marks = sweep.curves(), iter("ovs^<>DPXpd*hH8")
    for number, (scheduler, names) in enumerate(curves.items()):
        width = max(1.5, 4.5 - 1.5 * number)  # curves that lie on each other are all visible
        style = {"color": COLOURS[number], "linewidth": width, "markersize": 2.5 + width, "label": scheduler}
        ax.plot(*zip(*map(point, names)), "-o", **style)
    joined = {name for names in curves.values() for name in names}
    for name in sweep.scores:
        if name.startswith("preset "):
            ax.plot(*point(name), "*", color="#20242a", markersize=13, zorder=3)
            style = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            ax.annotate(name.removeprefix("preset "), point(name), (0, -18), **style)
        elif name not in joined:
            ax.plot(*point(name), next(marks), color="#7a8793", markersize=6, label=name)
    ax.set_xlabel("arithmetic of a whole run, the published procedure's is 1", fontsize=9)
    ax.set_ylabel("PSNR, dB", fontsize=9)
    ax.set_xscale("log")
    ax.set_xticks(TICKS, labels=map(str, TICKS))
    ax.set_xticks([], minor=True)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return as_svg(figure)


def against_steps(sweep: SpeedSweep) -> str:
    """Plot a panel a metric, a line a scheduler, with intervals over people; return the text of an SVG."""
    figures, _ = import_matplotlib()
    figure = figures.Figure(figsize=(2.9 * len(AGAINST_STEPS), 3), layout="constrained")
    table = sweep.table()
    columns = {column.key: column for column in table.columns}
    for ax, key in zip(figure.subplots(1, len(AGAINST_STEPS)), AGAINST_STEPS):
        for colour, (scheduler, names) in zip(COLOURS, sweep.curves().items()):
            steps, cells = [sweep.steps(name) for name in names], [table.rows[name][key] for name in names]
            ax.plot(steps, [cell.value for cell in cells], "-o", color=colour, markersize=4, label=scheduler)
            known = [(step, *cell.interval) for step, cell in zip(steps, cells) if cell.interval]
            if known:
                ax.fill_between(*zip(*known), color=colour, alpha=0.08, linewidth=0)
        arrow = {1: "more is better", -1: "less is better"}[columns[key].better]
        ax.set_title(f"{columns[key].title}\n({arrow})", fontsize=9)
        ax.set_xlabel("steps", fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.25)
    figure.axes[0].legend(fontsize=8, frameon=False)
    return as_svg(figure)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("price", __doc__, _run)
    add_puppet_arguments(parser)
    parser.add_argument("--steps", type=positive_int, metavar="N", help="steps of the exact run (default: the model's)")
    parser.add_argument("--guidance", type=finite_float, help="guidance scale (default: the model's)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: a GPU where there is one)")
    parser.add_argument("--dtype", choices=DTYPES, help="of the weights (default: float16 on a GPU, else float32)")
    parser.add_argument("--out", type=file_path, metavar="DIR", help="write table and plots, and cache measurements")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    if options.out:
        import_matplotlib()  # fails before the measurement, not after it
    pipe = load_model(options.model, options.device, options.dtype)
    sweep = measure_price(
        pipe,
        options.seed,
        options.identities,
        options.frames,
        options.guidance,
        options.out and options.out / "measured",
        options.steps,
    )
    table = sweep.table()
    print(as_text(table))
    if options.out:
        write_text(options.out / "table.csv", as_csv(table))
        write_text(options.out / "price.svg", against_arithmetic(sweep))
        write_text(options.out / "steps.svg", against_steps(sweep))
        print(f"table and plots in {options.out}")
    write_report({"model": options.model, **as_data(table)}, options.json)


if __name__ == "__main__":
    sys.exit(main())
