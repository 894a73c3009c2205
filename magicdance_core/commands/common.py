"""What several commands do: choose the device, load a model, print and write results."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import DTYPES
from ..errors import InputError

if TYPE_CHECKING:
    import torch

    from ..pipeline import MagicDancePipeline


def count(text: str) -> int:
    """An argument that has to be a positive whole number."""
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def seed(text: str) -> int:
    """An argument that seeds random numbers."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 2^63")
    return number


def finite(text: str) -> float:
    """An argument that has to be a finite number."""
    number = float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text} is not finite")
    return number


def add_model_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Options of every command that generates pictures."""
    parser.add_argument("--steps", type=count, help="denoising steps (default: the model's)")
    parser.add_argument("--guidance", type=finite, help="guidance scale (default: the model's)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps, ... (default: a GPU where there is one)")
    parser.add_argument("--dtype", choices=DTYPES, help="default: float16 on a GPU, float32 on a CPU")


def load_model(model: str, device: str | None = None, dtype: str | None = None) -> MagicDancePipeline:
    """The embedded model ("embedded"), a folder or a file, on the device. InputError where there is no such thing."""
    import torch

    from ..pipeline import MagicDancePipeline

    place = torch_device(device)
    kind = torch_dtype(dtype) or (torch.float32 if place.type == "cpu" else torch.float16)
    if model == "embedded":
        pipe = MagicDancePipeline.from_embedded()
    elif not Path(model).exists():
        raise InputError(f"There is no model {model}; give a checkpoint file, a model folder or the word embedded.")
    elif Path(model).is_dir():
        pipe = MagicDancePipeline.from_pretrained(model, torch_dtype=kind)
    else:
        pipe = MagicDancePipeline.from_single_file(model, torch_dtype=kind)
    return pipe.to(place, kind)


def sampling_settings(pipe: MagicDancePipeline, options: argparse.Namespace) -> dict:
    """The pipeline's arguments that --steps and --guidance stand for."""
    return {
        "num_inference_steps": options.steps or pipe.defaults["num_inference_steps"],
        "guidance_scale": pipe.defaults["guidance_scale"] if options.guidance is None else options.guidance,
    }


def noise(seed: int) -> torch.Generator:
    """The source of the noise: the same seed gives all frames and all calls the same, on every machine."""
    import torch

    return torch.Generator().manual_seed(seed)


def size_unit(pipe: MagicDancePipeline) -> int:
    """What the sides of pictures should be multiples of, so that the UNet halves them evenly: 64 as published."""
    return pipe.factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)


def torch_device(name: str | None) -> torch.device:
    """The device of that name, a GPU where there is one by default. InputError where it cannot be used."""
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        return torch.empty(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device {name} cannot be used ({str(error).splitlines()[0]}); try cpu.") from error


def torch_dtype(name: str | None) -> torch.dtype | None:
    import torch

    return getattr(torch, name) if name else None


def print_table(values: dict) -> None:
    """Names and values in two columns; what is nested gets a row each."""
    rows = {}
    for name, value in values.items():
        rows |= {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {f'{value:.4g}' if isinstance(value, float) else value}")


def write_report(report: dict, path: Path | None) -> None:
    """Write a report as JSON where a path was given; a value that is not a number becomes null."""
    if path is None:
        return
    from ..media import write_json

    write_json(path, {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in report.items()})
    print(f"report in {path}")
