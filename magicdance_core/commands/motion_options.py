"""Options of the motion module and of its context windows."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import BETA_SCHEDULES, DEFAULT, NOISES, WINDOW_WEIGHTS
from ..errors import InputError
from ..files import as_path
from .common import file_path, finite_float, nonnegative_int, positive_int

if TYPE_CHECKING:
    from ..pipeline import MagicDancePipeline
    from ..sampling import SamplingSettings

MODULE_OPTIONS = {  # options that need a motion module, and their defaults
    "motion_strength": 1.0, "context": None, "overlap": None, "stride": 1, "window_weights": WINDOW_WEIGHTS[0],
    "loop": False, "random_starts": False, "quick": False,
}  # fmt: skip


def add_motion_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the motion module."""
    group = parser.add_argument_group("motion module")
    group.add_argument(
        "--motion", metavar="FILE|DIR|embedded|none",
        help="a module of AnimateDiff or of the trainer, the embedded model's, or none (default: the model's, if any)",
    )  # fmt: skip
    group.add_argument(
        "--motion-lora", action="append", default=[], type=_lora, metavar="FILE[=STRENGTH]",
        help="a motion LoRA or AnimateDiff v3's adapter; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--motion-strength", type=finite_float, default=1.0, metavar="S", help="strength of the module (default: 1)"
    )
    group.add_argument(
        "--context",
        type=positive_int,
        metavar="LENGTH",
        help="frames in a context window (default: 16, or the module's maximum)",
    )
    group.add_argument(
        "--overlap",
        type=nonnegative_int,
        metavar="N",
        help="frames that consecutive windows share (default: a quarter of the length)",
    )
    group.add_argument(
        "--stride", type=positive_int, default=1, metavar="N", help="above 1: every other step uses every N-th frame"
    )
    group.add_argument(
        "--window-weights",
        choices=WINDOW_WEIGHTS,
        default=WINDOW_WEIGHTS[0],
        help="weights of a window's frames in overlaps",
    )
    group.add_argument(
        "--loop", action="store_true", help="the last frame is followed by the first; keeps all frames in memory"
    )
    group.add_argument(
        "--random-starts", action="store_true",
        help="start a loop's windows at a random frame at each step; with --window-weights flat as published",
    )  # fmt: skip
    group.add_argument(
        "--noise",
        choices=NOISES,
        default=DEFAULT,
        help="how the frames' initial noises relate (default: what suits the motion module, shared without one)",
    )
    group.add_argument(
        "--beta-schedule", choices=BETA_SCHEDULES, default=DEFAULT,
        help="linear: as AnimateDiff's modules were trained, unlike the model (default: the model's)",
    )  # fmt: skip
    group.add_argument(
        "--quick", action="store_true", help="finish the first frames early, an approximation: to preview a long video"
    )


def load_chosen_motion(pipe: MagicDancePipeline, options: argparse.Namespace) -> None:
    """Load the motion module and set the beta schedule that the options name."""
    from ..checkpoints import EMBEDDED_MOTION, merge_lora
    from ..schedule import with_beta_schedule

    if options.motion == "none":
        pipe.motion = None
    elif options.motion == "embedded":
        pipe.load_motion(EMBEDDED_MOTION, options.motion_lora)
    elif options.motion is None and pipe.motion is not None:
        for file, strength in options.motion_lora:
            merge_lora(file, strength, pipe.motion, pipe.unet)
    elif options.motion is not None:
        pipe.load_motion(as_path(options.motion), options.motion_lora)
    if options.motion_lora and pipe.motion is None:
        raise InputError("--motion-lora changes a motion module, and there is none: give --motion a file.")
    if options.beta_schedule != DEFAULT:
        pipe.scheduler = with_beta_schedule(pipe.scheduler, options.beta_schedule)


def with_motion(settings: SamplingSettings, pipe: MagicDancePipeline, options: argparse.Namespace) -> SamplingSettings:
    """Return the settings with the options of `add_motion_arguments`.

    Raises InputError for options of a motion module if there is none, unless --motion says none.
    """
    from ..sampling import Control, Windows

    settings = replace(settings, noise=None if options.noise == DEFAULT else options.noise, quick=options.quick)
    if pipe.motion is None:
        unused = [
            f"--{name.replace('_', '-')}" for name, value in MODULE_OPTIONS.items() if vars(options)[name] != value
        ]
        if unused and options.motion != "none":
            raise InputError(f"{' and '.join(unused)} need a motion module, and there is none: give --motion a file.")
        return replace(settings, quick=False)
    length = options.context or min(16, pipe.motion.max_frames)
    overlap = length // 4 if options.overlap is None else options.overlap
    strides = (1,) if options.stride == 1 else (1, options.stride)
    random = options.seed if options.random_starts else None
    windows = Windows(length, overlap, strides, True, options.loop, options.window_weights, random)
    return replace(settings, windows=windows, motion_control=Control(options.motion_strength))


def _lora(text: str) -> tuple[Path, float]:
    name, _, strength = text.rpartition("=")
    try:
        return (file_path(name), finite_float(strength)) if name else (file_path(text), 1.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no FILE=STRENGTH") from None
