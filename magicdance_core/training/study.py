"""Does it learn, and what of it is needed? The training stages and what they leave out, on puppets, seed by seed.

    python -m magicdance_core.training.study --out DIR [--seeds 3]

Every part is a training run of its own, and goes on where it was stopped.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from ..checkpoints import Components, load, save_published
from ..entry import Parser, execute
from ..errors import InputError
from ..evaluation.puppets import evaluate_puppets
from ..files import read_json, whole_file
from ..pipeline import MagicDancePipeline
from ..threads import threads, threads_for
from .config import ControlName, DataConfig, NetworksConfig, StageConfig, StartConfig, TrainingConfig
from .data import open_frames
from .engine import train
from .objectives import DiffusionObjective, LatentSpace
from .starting import starting_point
from .step import TrainingStep
from .study_report import Variant, displacement, head_psnr, write_report

VARIANTS = (
    Variant("full recipe", "appearance pretraining, then appearance and pose together"),
    Variant("no pretraining", "appearance and pose together at once, as much arithmetic as the full recipe"),
    Variant("appearance frozen", "appearance pretraining, then pose alone beside it"),
    Variant("naive combination", "appearance and pose trained apart, put together afterwards"),
    Variant("no appearance control", "pose alone; the reference is not seen"),
    Variant("crops drawn apart", "the full recipe, but reference, target and pose map cropped each on its own"),
)
TEST_SEED = 7
TEST_STEPS, TEST_GUIDANCE = 8, 1.5


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is done. pixels: of the pictures. Steps of the parts, at a scale of 1; people and frames tested."""

    pixels: int = 32
    widths: tuple[int, int] = (32, 64)
    identities: int = 1500
    vae: int = 400
    base: int = 500
    appearance: int = 120
    joint: int = 180
    people: int = 16
    frames: int = 3

    def scaled(self, scale: float) -> "Size":
        """The same with more or fewer steps."""
        steps = {name: max(1, round(scale * getattr(self, name))) for name in ("vae", "base", "appearance", "joint")}
        return dataclasses.replace(self, **steps)


class Study:
    """All parts of one seed. A part's result is a model file in its own run folder."""

    def __init__(self, out: Path, size: Size, seed: int):
        self.out, self.size, self.seed = out / f"seed-{seed}", size, seed

    def run(self) -> dict[str, dict]:
        """Scores of each variant, from its file where it has been scored."""
        makers = {
            "full recipe": lambda: self._model(self._joint("full", self._appearance())),
            "no pretraining": lambda: self._model(self._joint("joint-only", self._base(), self._equal_steps())),
            "appearance frozen": lambda: self._model(
                self._train("frozen", self._appearance(), ["pose"], ["appearance", "pose"], self.size.joint)
            ),
            "naive combination": self._naive,
            "no appearance control": lambda: self._pose_only_model(),
            "crops drawn apart": lambda: self._model(
                self._joint("apart", self._appearance("apart-appearance", False), shared=False)
            ),
        }
        return {variant.name: self._scores(variant.name, makers[variant.name]) for variant in VARIANTS}

    def _scores(self, name: str, make) -> dict:
        file = self.out / f"{name.replace(' ', '-')}.json"
        if not file.exists():
            pipe = MagicDancePipeline(make())
            with threads(threads_for(pipe.unet, pipe.appearance, pipe.pose)):
                report = evaluate_puppets(
                    pipe, TEST_SEED, self.size.people, self.size.frames, TEST_STEPS, TEST_GUIDANCE
                )
            scores = {k: v for k, v in report.scores.items() if isinstance(v, float)}
            scores["pose_error"] = displacement(report.scenes, report.generated)
            scores["psnr_head"] = head_psnr(report.scenes, report.generated)
            sheet = [row for row in report.rows()[:8]]
            for number, row in enumerate(sheet):
                for what, picture in zip(("reference", "pose", "result", "truth"), row):
                    place = self.out / "pictures" / f"{name.replace(' ', '-')}-{number}-{what}.png"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    picture.save(place)
            with whole_file(file) as part:
                part.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
        return read_json(file, "scores, or remove it")

    def _base(self) -> Path:
        """A UNet that knows pictures and no controls."""
        unet = StageConfig("unet", ["unet"], self.size.base, learning_rate=2e-3, decay=0.4)
        return self._file("base", [unet], start=self._start())

    def _start(self) -> Path:
        """The VAE that all seeds share, and random networks of this seed."""
        root, file = self.out.parent, self.out / "start.safetensors"
        if not file.exists():
            vae = StageConfig("vae", ["vae"], self.size.vae, references=8, targets=1, learning_rate=2e-3, decay=0.6)
            config = self._config([vae], networks=self._networks())
            if not (root / "vae" / "final").exists():
                print("the VAE", flush=True)
                train(dataclasses.replace(config, seed=0), root / "vae", "cpu", root / "cache")
            model = starting_point(config)
            model.vae = load(root / "vae" / "final" / "model.safetensors").vae
            save_published(file, model)
        return file

    def _networks(self) -> NetworksConfig:
        return NetworksConfig(
            vae={
                "block_out_channels": [16, 32, 64],
                "down_block_types": ["DownEncoderBlock2D"] * 3,
                "up_block_types": ["UpDecoderBlock2D"] * 3,
                "layers_per_block": 1,
                "norm_num_groups": 8,
                "latent_channels": 8,
            },
            unet={
                "block_out_channels": list(self.size.widths),
                "down_block_types": ["CrossAttnDownBlock2D"] * 2,
                "up_block_types": ["CrossAttnUpBlock2D"] * 2,
                "layers_per_block": 1,
                "attention_head_dim": 4,
                "cross_attention_dim": 32,
                "norm_num_groups": 16,
                "in_channels": 8,
                "out_channels": 8,
            },
            pose_channels=[16, 32, 64],
        )

    def _appearance(self, name: str = "appearance", shared: bool = True) -> Path:
        stage = StageConfig(
            "appearance", ["appearance"], self.size.appearance, controls=["appearance"],
            from_unet=["appearance", "pose"], learning_rate=1e-3,
        )  # fmt: skip
        return self._file(name, [stage], start=self._base(), shared=shared)

    def _joint(self, name: str, start: Path, steps: int = 0, shared: bool = True) -> Path:
        controls = ["appearance", "pose"]
        return self._train(name, start, controls, controls, steps or self.size.joint, shared)

    def _train(self, name: str, start: Path, learn: list, controls: list, steps: int, shared: bool = True) -> Path:
        fresh: list[ControlName] = ["appearance", "pose"] if start == self._base() else []
        stage = StageConfig("stage", learn, steps, controls=controls, from_unet=fresh, learning_rate=1e-3)
        return self._file(name, [stage], start=start, shared=shared)

    def _pose_only(self) -> Path:
        return self._train("pose-only", self._base(), ["pose"], ["pose"], self.size.joint)

    def _pose_only_model(self) -> Components:
        model = self._model(self._pose_only())
        model.appearance = None
        return model

    def _naive(self) -> Components:
        model = self._model(self._appearance())
        model.pose = self._model(self._pose_only()).pose
        return model

    def _equal_steps(self) -> int:
        """Joint steps that take as much arithmetic as both stages of the full recipe."""
        one = self._operations(["appearance"], ["appearance"])
        both = self._operations(["appearance", "pose"], ["appearance", "pose"])
        return self.size.joint + round(self.size.appearance * one / both)

    def _operations(self, learn: list, controls: list) -> int:
        """Of one training step, forward and backward."""
        stage = StageConfig("count", learn, 1, controls=controls)
        config = self._config([stage], start=self._base())
        model = starting_point(config)
        for name, network in model.networks().items():
            network.requires_grad_(name in learn)
        frames = open_frames(config.data, self.out.parent / "cache")
        objective = DiffusionObjective(
            frames, None, config.data, stage, 0, model.context, "v_prediction", LatentSpace.of(model.vae)
        )
        step = TrainingStep(model.networks(), objective)
        batch = default_collate([objective.sample(index) for index in range(stage.references)])
        with FlopCounterMode(display=False) as counter:
            step(batch).mean().backward()
        return counter.get_total_flops()

    def _config(self, stages: list, networks=None, start: Path | None = None, shared: bool = True) -> TrainingConfig:
        return TrainingConfig(
            stages=[dataclasses.replace(stage, save_every=100) for stage in stages],
            networks=networks,
            start=StartConfig(str(start.absolute())) if start else None,
            data=DataConfig(
                size=self.size.pixels, identities=self.size.identities, held_out=0, crop=(0.85, 1.0), crops=0,
                shared_crop=shared,
            ),  # fmt: skip
            prediction_type="v_prediction",
            seed=self.seed,
            defaults={"num_inference_steps": TEST_STEPS, "guidance_scale": TEST_GUIDANCE,
                      "sample_size": self.size.pixels},
        )  # fmt: skip

    def _file(self, name: str, stages: list, start: Path, shared: bool = True) -> Path:
        final = self.out / name / "final" / "model.safetensors"
        if not final.exists():
            print(f"seed {self.seed}: {name}", flush=True)
            train(self._config(stages, start=start, shared=shared), self.out / name, "cpu", self.out.parent / "cache")
        return final

    def _model(self, file: Path) -> Components:
        return load(file)


def main(arguments: list[str] | None = None) -> int:
    """Run the study; see `entry.execute` for what it returns."""
    parser = Parser(prog="python -m magicdance_core.training.study", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="everything; the same command goes on")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of steps (default: 1)")
    parser.add_argument("--size", type=int, default=32, metavar="PIXELS", help="of the pictures (default: 32)")
    parser.set_defaults(run=_run)
    return execute(parser, arguments, name="study")


def _run(options: argparse.Namespace) -> None:
    if options.seeds < 1 or not 0 < options.scale < 1e6:
        raise InputError("--seeds and --scale take positive numbers.")
    size = dataclasses.replace(Size(), pixels=options.size).scaled(options.scale)
    seeds = []
    for seed in range(options.seeds):
        seeds.append(Study(options.out, size, seed).run())
        table = write_report(options.out, VARIANTS, seeds, dataclasses.asdict(size))
        print(table)


if __name__ == "__main__":
    sys.exit(main())
