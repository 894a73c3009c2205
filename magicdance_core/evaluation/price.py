"""What speed costs: quality on dances of puppets against arithmetic, for steps, schedulers and shortcuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from ..benchmark import share_of_published
from ..checkpoints import weights_fingerprint
from ..choices import DEFAULT
from ..sampling import PRESETS, Control, Preset, Shortcuts
from ..sampling.settings import FULL
from ..schedule import named_scheduler
from .bootstrap import draws, interval, mean_of_all, resampled_means
from .keeping import Kept
from .puppets import SEEDS_APART, Scene, make_scene, picture_scores
from .steadiness import CHOREOGRAPHY_FPS, stack, steadiness_scores
from .table import Cell, Column, Table

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..pipeline import MagicDancePipeline

STEPS = (0.1, 0.2, 0.3, 0.5, 1.0)  # of the model's own number
HALF = 0.5  # of it, at which shortcuts are measured
SCHEDULERS = (DEFAULT, "dpmpp_2m", "unipc")
GUIDED = ((0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (0.2, 0.8))
EVERY = (2, 5)
POSED = (0.5, 0.8)
COLUMNS = (
    Column("arithmetic", "arithmetic", 3, -1),
    Column("psnr", "PSNR, dB", 2, +1),
    Column("lost", "against exact, dB", 2, +1),
    Column("psnr_moving", "moving, dB", 2, +1),
    Column("expression", "expression", 2, +1),
    Column("still", "flicker, still, 1/255", 2, -1),
    Column("moving", "change, moving, 1/255", 1, -1),
)


@dataclass(frozen=True)
class Way:
    """A way to run: what a preset holds, and when the Pose ControlNet acts."""

    preset: Preset
    pose: Control = FULL


def ways(own_steps: int, own_scheduler: str) -> dict[str, Way]:
    """The grid by names: each scheduler at several numbers of steps, each shortcut alone, the presets."""
    made = {}
    for name in SCHEDULERS:
        for part in STEPS:
            preset = Preset(part, name)
            made[f"{own_scheduler if name == DEFAULT else name}, {preset.count(own_steps)} steps"] = Way(preset)
    half = f"{Preset(HALF).count(own_steps)} steps"
    alone = {f"guided {start:g} to {end:g}": Shortcuts(guidance=(start, end)) for start, end in GUIDED}
    alone |= {f"reference every {k}": Shortcuts(reference_every=k) for k in EVERY}
    alone |= {f"pose every {k}": Shortcuts(pose_every=k) for k in EVERY}
    made |= {f"{half}: {name}": Way(Preset(HALF, shortcuts=shortcuts)) for name, shortcuts in alone.items()}
    made |= {f"{half}: pose up to {end:g}": Way(Preset(HALF), Control(1.0, 0.0, end)) for end in POSED}
    return made | {f"preset {name}": Way(preset) for name, preset in PRESETS.items()}


@dataclass(frozen=True)
class Price:
    """What was measured: a row a way. scores: of each a mapping a person from names to a value a frame."""

    ways: Mapping[str, Way]
    own_steps: int
    scores: dict[str, list[dict[str, np.ndarray]]] = field(default_factory=dict)

    def arithmetic(self, name: str) -> float:
        """Of a whole run with the published networks, as a part of the published procedure's."""
        way = self.ways[name]
        return share_of_published(way.preset.count(self.own_steps), self.own_steps, way.preset.shortcuts, way.pose)

    def table(self) -> Table:
        """Means with 95 % intervals over people; "lost" is paired: the same people, poses and noise."""
        return Table(COLUMNS, {name: self._row(name) for name in self.scores})

    def curves(self) -> dict[str, list[str]]:
        """The ways that differ in their number of steps only, by increasing number: scheduler -> names."""
        found: dict[str, list[str]] = {}
        for name in self.scores:
            scheduler, comma, _ = name.partition(",")
            if comma:
                found.setdefault(scheduler, []).append(name)
        return {scheduler: sorted(names, key=self.steps) for scheduler, names in found.items()}

    def steps(self, name: str) -> int:
        return self.ways[name].preset.count(self.own_steps)

    def _row(self, name: str) -> dict[str, Cell]:
        measured, exact = self.scores[name], self.scores["preset exact"]
        columns = {key: [person[key] for person in measured] for key in measured[0]}
        columns["lost"] = [person["psnr"] - other["psnr"] for person, other in zip(measured, exact)]
        drawn = draws(len(measured))
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
    own_steps: int | None = None,
    chosen: Mapping[str, Way] | None = None,
    fps: float = 15.0,
) -> Price:
    """Let unseen puppets dance in every way of the grid (or of `chosen`, which needs "preset exact").

    Each person's noise is that of its number, the same in all ways, so that they differ in nothing else. Scores a
    frame: psnr, psnr_moving, expression as `evaluate_puppets` has them, still and moving as `evaluate_steadiness`.
    folder: keeps what was measured, so that an interrupted run goes on. Ways that come to the same run once.
    own_steps: what ways take a part of, and `exact` takes; by default what the model proposes.
    """
    own_steps = own_steps or pipe.defaults["num_inference_steps"]
    size, own = pipe.defaults["sample_size"], pipe.scheduler
    price = Price(chosen or ways(own_steps, _short_name(own)), own_steps)
    moments = [k * CHOREOGRAPHY_FPS / fps for k in range(frames)]
    scenes = [make_scene(SEEDS_APART * seed + k, moments, size) for k in range(people)]
    kept, same = Kept(folder), {}
    model = [weights_fingerprint(network) for network in pipe.components.networks().values()]
    scale = pipe.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
    try:
        for name, way in tqdm(price.ways.items(), desc="ways", unit="way"):
            steps = price.steps(name)
            settings = {"num_inference_steps": steps, "guidance_scale": scale, "shortcuts": way.preset.shortcuts}
            pipe.scheduler = named_scheduler(way.preset.scheduler, own)
            key = str(
                [model, seed, frames, fps, _configured(pipe.scheduler), steps, scale, way.preset.shortcuts, way.pose]
            )
            if key not in same:
                measure = partial(_measure, pipe, settings | {"pose": way.pose})
                same[key] = [kept.get([key, k], partial(measure, scene, seed + k)) for k, scene in enumerate(scenes)]
            price.scores[name] = same[key]
    finally:
        pipe.scheduler = own
    return price


def _measure(pipe: MagicDancePipeline, settings: dict, scene: Scene, seed: int) -> dict[str, np.ndarray]:
    generator = torch.Generator().manual_seed(seed)
    made = pipe(scene.reference, list(scene.poses), generator=generator, **settings).frames
    video = stack(made)
    scores = steadiness_scores(video, scene)
    frames = [picture_scores(scene, i, {"": frame}) for i, frame in enumerate(video)]
    alone = {name: np.array([frame[name] for frame in frames]) for name in ("psnr", "psnr_moving", "expression")}
    return alone | {"still": scores["still"], "moving": scores["moving"]}


def _configured(scheduler: SchedulerMixin) -> dict:
    known = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    return {"kind": type(scheduler).__name__, **known}


def _short_name(scheduler: SchedulerMixin) -> str:
    return type(scheduler).__name__.removesuffix("Scheduler").lower()
