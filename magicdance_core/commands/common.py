"""Shared by the commands: options, loading a model, printing and writing reports."""

from __future__ import annotations

import argparse
import logging
import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from ..checks import shown
from ..choices import DEFAULT, DTYPES, FOREIGN_THRESHOLD, PRESETS, SCHEDULERS
from ..errors import InputError
from ..files import as_path, existing
from ..limits import check_fps

if TYPE_CHECKING:
    import torch

    from ..pipeline import MagicDancePipeline
    from ..sampling import SamplingSettings

MAX_COUNT = 1_000_000


def file_path(text: str) -> Path:
    """Parse the path of a file or folder."""
    try:
        return as_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def positive_int(text: str) -> int:
    """Parse a positive integer."""
    return _whole(text, 1, MAX_COUNT)


def step_count(text: str) -> int:
    """Parse a number of denoising steps, which the published schedule has 999 of."""
    return _whole(text, 1, 999)


def nonnegative_int(text: str) -> int:
    """Parse an integer of at least 0."""
    return _whole(text, 0, MAX_COUNT)


def seed(text: str) -> int:
    """Parse the seed of a random number generator."""
    return _whole(text, 0, 2**63 - 1)


def finite_float(text: str) -> float:
    """Parse a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not finite")
    return number


def nonnegative_float(text: str) -> float:
    """Parse a finite number of at least 0."""
    number = finite_float(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative: give 0 or more")
    return number


def frame_rate(text: str) -> float:
    """Parse a frame rate."""
    try:
        return check_fps(float(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def _whole(text: str, low: int, high: int) -> int:
    number = int(text) if len(text) <= 20 else high + 1
    if not low <= number <= high:
        allowed = f"{low} or more" if number < low else f"at most {high}"
        raise argparse.ArgumentTypeError(f"{text[:20]} is out of range, give {allowed}")
    return number


def fraction(text: str) -> float:
    """Parse a fraction, 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range, give 0 to 1")
    return number


def colour(text: str) -> tuple[int, int, int]:
    """Parse a colour's name, or #rrggbb."""
    from ..media import parse_colour

    try:
        return parse_colour(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def add_score_argument(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option for keypoints of other programs."""
    parser.add_argument(
        "--min-score", type=fraction, default=FOREIGN_THRESHOLD, metavar="SCORE",
        help=f"leave out keypoints that other programs scored lower (default: {FOREIGN_THRESHOLD})",
    )  # fmt: skip


def add_model_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options of every command that generates pictures."""
    parser.add_argument(
        "--preset", choices=PRESETS, default=PRESETS[0],
        help="exact: as published (default); fast, preview: less computation and quality; options override it",
    )  # fmt: skip
    parser.add_argument("--steps", type=step_count, help="denoising steps (default: the model's)")
    parser.add_argument(
        "--scheduler", choices=SCHEDULERS, default=DEFAULT, help="default: the preset's, else the model's"
    )
    parser.add_argument("--guidance", type=finite_float, help="guidance scale (default: the model's)")
    parser.add_argument(
        "--guidance-range", type=fraction, nargs=2, metavar=("START", "END"),
        help="part of the run with guidance, 0 0.6 for the first 60 %% of the steps (default: 0 1)",
    )  # fmt: skip
    parser.add_argument(
        "--reference-every", type=positive_int, metavar="K", help="read the reference every K steps (default: 1)"
    )
    parser.add_argument(
        "--pose-every", type=positive_int, metavar="K", help="run the Pose ControlNet every K steps (default: 1)"
    )
    parser.add_argument(
        "--pose-range", type=fraction, nargs=2, default=[0.0, 1.0], metavar=("START", "END"),
        help="part of the run with the Pose ControlNet (default: 0 1)",
    )  # fmt: skip
    parser.add_argument(
        "--compile", action="store_true", help="compile the networks' blocks first; pays off for long videos"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: a GPU where there is one)")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        help="of the weights (default: float16 on a GPU, float32 on a CPU); a CPU may compute in float32 all the same",
    )


def check_model(model: str) -> None:
    """Raise InputError if there is no such model, before anything slow is imported or computed."""
    if model != "embedded" and not (model and os.path.exists(model)):
        raise InputError(f"There is no model {model}: give a checkpoint file, a model folder or the word embedded.")


def load_model(model: str, device: str | None = None, dtype: str | None = None) -> MagicDancePipeline:
    """Load the embedded model ("embedded"), a folder or a file, on the device. Raises InputError if it is missing."""
    check_model(model)
    import torch

    from ..cpu import fast_dtype
    from ..pipeline import MagicDancePipeline

    target = torch_device(device)
    requested = torch_dtype(dtype) or (torch.float32 if target.type == "cpu" else torch.float16)
    if model == "embedded":
        pipe = MagicDancePipeline.from_embedded()
    elif existing(model).is_dir():
        pipe = MagicDancePipeline.from_pretrained(model, torch_dtype=requested)
    else:
        pipe = MagicDancePipeline.from_single_file(model, torch_dtype=requested)
    pipe.set_progress_bar_config(disable=True)  # commands have their own
    computed = fast_dtype(requested, target)
    if computed != requested:
        logging.warning("This CPU has no instructions for %s: computing in float32, with weights as given.", dtype)
        pipe.to(dtype=requested)
    return pipe.to(target, computed)


def sampling_settings(pipe: MagicDancePipeline, options: argparse.Namespace) -> SamplingSettings:
    """Return the settings that the options of `add_model_arguments` stand for; sets the pipeline's scheduler and
    compiles it."""
    from ..sampling import PRESETS, Control, SamplingSettings, Shortcuts
    from ..schedule import named_scheduler

    if options.compile:
        pipe.compile()
    preset = PRESETS[options.preset]
    name = preset.scheduler if options.scheduler == DEFAULT else options.scheduler
    pipe.scheduler = named_scheduler(name, pipe.scheduler)
    chosen = {
        "guidance": options.guidance_range and tuple(options.guidance_range),
        "reference_every": options.reference_every,
        "pose_every": options.pose_every,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    return SamplingSettings(
        num_inference_steps=options.steps or preset.count(pipe.defaults["num_inference_steps"]),
        guidance_scale=pipe.defaults["guidance_scale"] if options.guidance is None else options.guidance,
        shortcuts=Shortcuts(**vars(preset.shortcuts) | given),
        pose_control=Control(1.0, *options.pose_range),
    )


def described(pipe: MagicDancePipeline, settings: SamplingSettings) -> dict:
    """Return the scheduler and the settings that differ from their defaults, for reports."""
    return {"scheduler": type(pipe.scheduler).__name__, **settings.changes()}


def seeded_generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU, which gives the same noise for a seed on every machine."""
    import torch

    return torch.Generator().manual_seed(seed)


def size_unit(pipe: MagicDancePipeline) -> int:
    """Return the number that both sides of pictures should be multiples of: 64 as published."""
    from ..models import size_multiple

    return size_multiple(pipe.unet, pipe.vae)


def torch_device(name: str | None) -> torch.device:
    """Return the device; a GPU if there is one by default. Raises InputError if it cannot be used."""
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of drivers and backends; the refusal says it
            device = torch.device(name)
            if device.type == "meta":
                raise InputError("The device meta holds no values: try cpu.")
            return (torch.zeros(1, device=device) + 1).device
    except InputError:
        raise
    except Exception as error:  # backends that torch names but this machine lacks raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"The device {shown(name)} cannot be used ({shown(reason)}): try cpu.") from error


def torch_dtype(name: str | None) -> torch.dtype | None:
    import torch

    return getattr(torch, name) if name else None


def print_table(values: dict) -> None:
    """Print names and values in two columns, nested values in rows of their own."""
    rows = {}
    for name, value in values.items():
        rows |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {f'{value:.4g}' if isinstance(value, float) else value}")


def write_report(report: dict, path: Path | None) -> None:
    """Write a report as JSON if a path is given; NaN and infinity become null."""
    if path is None:
        return
    from ..media import write_json

    write_json(path, {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in report.items()})
    print(f"report in {path}")
