"""Options of what is sampled beside the poses: prompts, LoRAs, and strength and range of the controls."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .common import file_path, finite_float, fraction, nonnegative_float

if TYPE_CHECKING:
    from ..pipeline import MagicDancePipeline
    from ..sampling import SamplingSettings


def add_condition_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of prompts, LoRAs and controls; --pose-range is one of `common.add_model_arguments`."""
    group = parser.add_argument_group("prompts, LoRAs and controls")
    group.add_argument(
        "--prompt", metavar="TEXT",
        help="follow this text; with a reference, --control-mode balance strengthens it (default: the empty prompt)",
    )  # fmt: skip
    group.add_argument(
        "--negative-prompt", metavar="TEXT",
        help="text of the unconditional prediction (default: the prompt with a reference in controlnet_important, as "
        "published, else the empty prompt)",
    )  # fmt: skip
    group.add_argument(
        "--lora", action="append", default=[], type=lora_file, metavar="FILE[:STRENGTH]",
        help="a LoRA for Stable Diffusion 1.5, or one of the trainer; may be repeated (strength: 1)",
    )  # fmt: skip
    group.add_argument(
        "--reference-strength", type=nonnegative_float, default=1.0, metavar="S",
        help="weight of the reference's tokens relative to a frame's own; 0 for no reference (default: 1)",
    )  # fmt: skip
    group.add_argument(
        "--reference-range", type=fraction, nargs=2, default=[0.0, 1.0], metavar=("START", "END"),
        help="part of the run with the reference (default: 0 1)",
    )  # fmt: skip
    group.add_argument(
        "--pose-strength", type=nonnegative_float, default=1.0, metavar="S",
        help="factor of the Pose ControlNet; 0 for none (default: 1)",
    )  # fmt: skip


def with_controls(settings: SamplingSettings, options: argparse.Namespace) -> SamplingSettings:
    """Return the settings with strength and range of the reference and of the poses."""
    from ..sampling import Control

    return replace(
        settings,
        appearance_control=Control(options.reference_strength, *options.reference_range),
        pose_control=Control(options.pose_strength, *options.pose_range),
    )


def load_loras(pipe: MagicDancePipeline, options: argparse.Namespace) -> None:
    """Merge the LoRAs that the options name, and keep those of the face pass for it."""
    for file, strength in options.lora:
        pipe.load_lora(file, strength)
    for file, strength in options.face_lora:
        pipe.load_face_lora(file, strength)


def encode_prompts(pipe: MagicDancePipeline, options: argparse.Namespace) -> dict[str, Any]:
    """Return the encoded prompts that are given, by the arguments of `MagicDancePipeline.stream`.

    Raises InputError if the model has no text encoder, or its folder no tokenizer.
    """
    texts = {"prompt_embeds": options.prompt, "negative_prompt_embeds": options.negative_prompt}
    given = {name: text for name, text in texts.items() if text is not None}
    if not given:
        return {}
    tokenizer = Path(options.model) / "tokenizer"
    if pipe.components.text_encoder is None or not tokenizer.is_dir():
        raise InputError(
            f"{options.model} cannot read prompts: give a model folder with a text encoder and Stable Diffusion 1.5's "
            "folder `tokenizer`; `magicdance convert` makes a folder of a checkpoint file."
        )
    return {name: pipe.encode_prompt(text, tokenizer) for name, text in given.items()}


def lora_file(text: str) -> tuple[Path, float]:
    """Parse FILE[:STRENGTH]; a colon that no number follows belongs to the file's name."""
    name, colon, strength = text.rpartition(":")
    if colon and name:
        try:
            return file_path(name), finite_float(strength)
        except ValueError:
            pass
    return file_path(text), 1.0
