"""Ablation of the training recipe on puppets: the full recipe and variants that leave out a part, seed by seed.

    python -m benchmarks.ablation --out DIR [--seeds 3] [--rows paper|masking]

Every part is a separate training run, which the same command resumes.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import torch
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from magicdance_core.checkpoints import EMBEDDED, Components, load, save_published
from magicdance_core.commands.common import file_path, finite_float, positive_int, write_report
from magicdance_core.cpu import threads, threads_for
from magicdance_core.data import open_frames
from magicdance_core.data.data_config import DataConfig
from magicdance_core.errors import InputError
from magicdance_core.evaluation import plots
from magicdance_core.evaluation.puppet_scores import evaluate_puppets
from magicdance_core.files import read_json
from magicdance_core.media import contact_sheet, write_json, write_picture
from magicdance_core.models import PoseControlNet
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.pose.parts import HIDEABLE
from magicdance_core.sampling import SamplingSettings
from magicdance_core.training.config import StageConfig, StartConfig, TrainingConfig
from magicdance_core.training.engine import TrainingStep, train
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace
from magicdance_core.training.starting import start_from_unet, starting_point

from .ablation_report import FULL, Recipe, displacement, head_psnr, write_tables
from .command import benchmark_parser, run_benchmark

RECIPES = (
    Recipe(
        "no pretraining, no disentangling", "a pose network trained alone, beside a copy of the UNet", "288.64 / .038"
    ),
    Recipe("no disentangling", "appearance and pose trained separately, put together afterwards", "35.76 / .397"),
    Recipe("no guidance by the image", "the full recipe, sampled with a guidance scale of 1", "61.33 / .272"),
    Recipe("no augmentation", "the full recipe, trained on whole pose maps only", "28.71 / .417"),
    Recipe(FULL, "appearance pretraining, then appearance and pose together; parts of maps masked", "25.50 / .426"),
    Recipe("no pretraining", "appearance and pose together from the start, with as much arithmetic as the full recipe"),
    Recipe("appearance frozen", "appearance pretraining, then pose alone beside it"),
    Recipe("no appearance control", "pose alone, without the reference"),
    Recipe("crops drawn apart", "the full recipe, but reference, target and pose map are cropped independently"),
)
"""The rows of the paper's Table 3 with its FID and Face-Cos, then further ones."""
AS_IT_IS = "the model as it is"
MASKING = (
    Recipe(AS_IT_IS, "with its own trained controls"),
    Recipe("further on whole maps", "its appearance and pose together, for the joint stage's steps"),
    Recipe("further on masked maps", "the same, with parts of the maps masked"),
)
"""What masking does to controls that are trained already, which the stages of `RECIPES` are too short for."""
MASKED = 0.2  # share of the training pose maps without the face, and without each hand
TEST_SEED = 7
TEST_STEPS, TEST_GUIDANCE = 8, 1.5


@dataclasses.dataclass(frozen=True)
class Size:
    """Steps of the two stages at a scale of 1, people to train on, people and frames to test on."""

    appearance: int = 120
    joint: int = 180
    identities: int = 1500
    people: int = 16
    frames: int = 3

    def scaled(self, scale: float) -> "Size":
        """Return the size with more or fewer steps."""
        steps = {name: max(1, round(scale * getattr(self, name))) for name in ("appearance", "joint")}
        return dataclasses.replace(self, **steps)


class Ablation:
    """All parts of one seed. A part's result is a model file in its own run folder.

    model: its UNet and VAE stay frozen, as Stable Diffusion does in the paper. Its controls are not used: they start
    anew as copies of the UNet, the pose encoder at random.
    """

    def __init__(self, out: Path, size: Size, seed: int, model: Path):
        self.out, self.size, self.seed, self.model = out / f"seed-{seed}", size, seed, model

    def run(self, recipes: Sequence[Recipe] = RECIPES) -> dict[str, dict]:
        """Return the scores of recipes, from their files if they have been scored."""
        controls = ["appearance", "pose"]
        makers = {
            "no pretraining, no disentangling": lambda: load(self._pose_only()),
            "no disentangling": self._separate,
            "no guidance by the image": self._full,
            "no augmentation": lambda: load(self._joint("whole-maps", self._appearance(), masked=0)),
            FULL: self._full,
            "no pretraining": lambda: load(
                self._train("joint-only", self._base(), controls, controls, self._equal_steps())
            ),
            "appearance frozen": lambda: load(self._train("frozen", self._appearance(), ["pose"], controls)),
            "no appearance control": self._pose_only_model,
            AS_IT_IS: lambda: load(self.model),
            "further on whole maps": lambda: load(self._joint("further-whole", self._trained(), masked=0)),
            "further on masked maps": lambda: load(self._joint("further-masked", self._trained())),
            "crops drawn apart": lambda: load(self._joint("apart", self._appearance("apart-appearance", False), False)),
        }
        return {recipe.name: self._scores(recipe.name, makers[recipe.name]) for recipe in recipes}

    def _scores(self, name: str, make: Callable[[], Components]) -> dict[str, list[float]]:
        """Return metric -> a value a person."""
        stem = name.replace(",", "").replace(" ", "-")
        file = self.out / f"{stem}.json"
        if not file.exists():
            pipe = MagicDancePipeline(make())
            guidance = 1.0 if name == "no guidance by the image" else TEST_GUIDANCE
            test = partial(evaluate_puppets, pipe, TEST_SEED, self.size.people, self.size.frames)
            with threads(threads_for(pipe.unet, pipe.appearance, pipe.pose)):
                report, partly = (
                    test(SamplingSettings(TEST_STEPS, guidance), hidden=parts) for parts in ((), HIDEABLE)
                )
            scores = {
                key: [float(person[key].mean()) for person in report.frame_scores] for key in report.frame_scores[0]
            }
            scores["psnr_masked"] = [float(person["psnr"].mean()) for person in partly.frame_scores]
            scores["pose_error"] = displacement(report.scenes, report.generated)
            scores["psnr_head"] = head_psnr(report.scenes, report.generated)
            sheet = self.out / "pictures" / f"{stem}.png"
            write_picture(sheet, contact_sheet(report.rows(), ("reference", "pose", "generated", "truth"), panel=192))
            write_json(file, scores)
        return read_json(file, "scores, or remove it")

    @cached_property
    def pixels(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""
        return load(self.model).defaults["sample_size"]

    def _base(self) -> Path:
        """Return the file of the model with untrained controls."""
        file = self.out / "base.safetensors"
        if not file.exists():
            model = load(self.model)
            if model.appearance is None or model.pose is None:
                raise InputError(f"{self.model} lacks the appearance or the pose network: give a whole model.")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.seed)
                widths = model.pose.config.conditioning_embedding_out_channels
                model.pose = PoseControlNet.from_unet(model.unet, conditioning_embedding_out_channels=widths)
            start_from_unet(model.unet, {"appearance": model.appearance})
            save_published(file, model)
        return file

    def _trained(self) -> Path:
        """Return the file of the model with its own controls."""
        file = self.out / "trained.safetensors"
        if not file.exists():
            save_published(file, load(self.model))
        return file

    def _appearance(self, name: str = "appearance", shared: bool = True) -> Path:
        return self._train(name, self._base(), ["appearance"], ["appearance"], self.size.appearance, shared)

    def _joint(self, name: str, start: Path, shared: bool = True, masked: float = MASKED) -> Path:
        return self._train(name, start, ["appearance", "pose"], ["appearance", "pose"], shared=shared, masked=masked)

    def _full(self) -> Components:
        return load(self._joint("full", self._appearance()))

    def _pose_only(self) -> Path:
        return self._train("pose-only", self._base(), ["pose"], ["pose"])

    def _pose_only_model(self) -> Components:
        model = load(self._pose_only())
        model.appearance = None
        return model

    def _separate(self) -> Components:
        model = load(self._appearance())
        model.pose = load(self._pose_only()).pose
        return model

    def _equal_steps(self) -> int:
        """Return the joint steps that take as much arithmetic as both stages of the full recipe."""
        one = self._operations(["appearance"], ["appearance"])
        joint = self._operations(["appearance", "pose"], ["appearance", "pose"])
        return self.size.joint + round(self.size.appearance * one / joint)

    def _operations(self, learn: list, controls: list) -> int:
        """Count the operations of one training step, forward and backward."""
        stage = StageConfig("count", learn, 1, controls=controls)
        config = self._config(stage, self._base())
        model = starting_point(config)
        for name, network in model.networks().items():
            network.requires_grad_(name in learn)
        frames = open_frames(config.data, self.out.parent / "cache")
        objective = DiffusionObjective(
            frames,
            None,
            config.data,
            stage,
            0,
            model.context,
            model.scheduler.config.prediction_type,
            LatentSpace.of(model.vae),
        )
        step = TrainingStep(model.networks(), objective)
        batch = default_collate([objective.sample(index) for index in range(stage.references)])
        with FlopCounterMode(display=False) as counter:
            step(batch).mean().backward()
        return counter.get_total_flops()

    def _config(self, stage: StageConfig, start: Path, shared: bool = True) -> TrainingConfig:
        return TrainingConfig(
            stages=[stage],
            start=StartConfig(str(start.absolute())),
            data=DataConfig(
                size=self.pixels,
                identities=self.size.identities,
                held_out=0,
                crop=(0.85, 1.0),
                crops=0,
                shared_crop=shared,
            ),
            seed=self.seed,
        )

    def _train(
        self,
        name: str,
        start: Path,
        learn: list,
        controls: list,
        steps: int = 0,
        shared: bool = True,
        masked: float = MASKED,
    ) -> Path:
        final = self.out / name / "final" / "model.safetensors"
        if not final.exists():
            print(f"seed {self.seed}: {name}", flush=True)
            masked *= "pose" in controls
            stage = StageConfig(
                "stage",
                learn,
                steps or self.size.joint,
                controls=controls,
                mask_face=masked,
                mask_hand=masked,
                learning_rate=1e-3,
                save_every=50,
            )
            train(self._config(stage, start, shared), self.out / name, "cpu", self.out.parent / "cache")
        return final


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("ablation", __doc__, _run)
    parser.add_argument(
        "--out", type=file_path, required=True, metavar="DIR", help="all results; the same command resumes"
    )
    parser.add_argument("--seeds", type=positive_int, default=3, metavar="N", help="seeds, from --seed on (default: 3)")
    parser.add_argument("--scale", type=finite_float, default=1.0, help="times the number of steps (default: 1)")
    parser.add_argument(
        "--rows", choices=("all", "paper", "masking"), default="all",
        help="paper: only the rows of its Table 3; masking: train the model's own controls further, with and without "
        "masked maps (default: all rows of untrained controls)",
    )  # fmt: skip
    parser.add_argument(
        "--model",
        type=file_path,
        default=EMBEDDED,
        metavar="FILE|DIR",
        help="a model trained on puppets (default: the embedded one)",
    )
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    if not 0 < options.scale < 1e6:
        raise InputError(f"--scale is {options.scale:g}: give a number above 0 and below 1,000,000.")
    plots.import_matplotlib()  # fails before the runs, not after them
    size = Size().scaled(options.scale)
    _claim(options.out / "ablation.json", {"model": str(options.model.absolute()), **dataclasses.asdict(size)})
    seeds: list[dict] = []
    recipes = [recipe for recipe in RECIPES if recipe.published or options.rows == "all"]
    base = FULL
    if options.rows == "masking":
        recipes, base = list(MASKING), AS_IT_IS
    for seed in range(options.seed, options.seed + options.seeds):
        seeds.append(Ablation(options.out, size, seed, options.model).run(recipes))
        print(write_tables(options.out, recipes, seeds, dataclasses.asdict(size), base))
    write_report({"size": dataclasses.asdict(size), "seeds": seeds}, options.json)


def _claim(file: Path, settings: dict) -> None:
    """Record the settings. Raises InputError if the folder holds parts of an ablation with others."""
    if file.exists():
        for key, value in read_json(file, "the ablation's settings, or remove the folder").items():
            if settings.get(key) != value:
                raise InputError(
                    f"{file.parent} holds an ablation whose {key} is {value}, not {settings.get(key)}: "
                    "give another --out."
                )
    write_json(file, settings)


if __name__ == "__main__":
    sys.exit(main())
