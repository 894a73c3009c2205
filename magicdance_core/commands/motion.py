"""Videos in motion: options of the motion module, and frames that are written as they are ready."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import BETA_SCHEDULES, DEFAULT, NOISES, WINDOW_WEIGHTS
from ..errors import InputError
from ..files import as_path, atomic_write
from .common import count, finite, gap, location

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..pipeline import MagicDancePipeline
    from ..sampling import Bunch

STATE = "state.safetensors"  # of a run under way, in its folder
WITHOUT_MODULE = {  # what options of windows are where there is none
    "motion_strength": 1.0, "context": None, "overlap": None, "stride": 1, "window_weights": WINDOW_WEIGHTS[0],
    "loop": False, "random_starts": False, "quick": False,
}  # fmt: skip


def add_motion_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of what lets frames see each other."""
    group = parser.add_argument_group("motion module")
    group.add_argument(
        "--motion", metavar="FILE|DIR|embedded|none",
        help="a module of AnimateDiff or ours, the embedded model's, or none (default: the model's own, if it has one)",
    )  # fmt: skip
    group.add_argument(
        "--motion-lora", action="append", default=[], type=_lora, metavar="FILE[=STRENGTH]",
        help="a motion LoRA or AnimateDiff v3's adapter; may be repeated",
    )  # fmt: skip
    group.add_argument("--motion-strength", type=finite, default=1.0, metavar="S", help="of the module (default: 1)")
    group.add_argument(
        "--context", type=count, metavar="LENGTH", help="frames that it sees together (default: 16, or what it knows)"
    )
    group.add_argument(
        "--overlap", type=gap, metavar="N", help="frames that neighbours share (default: a quarter of the length)"
    )
    group.add_argument(
        "--stride", type=count, default=1, metavar="N", help="above 1, every other step takes frames so far apart"
    )
    group.add_argument(
        "--window-weights", choices=WINDOW_WEIGHTS, default=WINDOW_WEIGHTS[0], help="of a window's frames in overlaps"
    )
    group.add_argument("--loop", action="store_true", help="the last frame leads to the first; keeps all frames alive")
    group.add_argument(
        "--random-starts", action="store_true",
        help="of a loop's windows, at each step; with --window-weights flat the published averaging",
    )  # fmt: skip
    group.add_argument(
        "--noise", choices=NOISES, default=DEFAULT, help="what frames share of their noise, with a module or without"
    )
    group.add_argument(
        "--beta-schedule", choices=BETA_SCHEDULES, default=DEFAULT,
        help="linear: as AnimateDiff's modules were trained; the model itself was not",
    )  # fmt: skip
    group.add_argument(
        "--quick", action="store_true", help="first frames sooner, an approximation: for a look at a long video"
    )


def load_chosen_motion(pipe: MagicDancePipeline, options: argparse.Namespace) -> None:
    """Give the pipeline the motion module and the schedule that the options name."""
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
        raise InputError("--motion-lora changes a motion module, and there is none; give --motion a file.")
    if options.beta_schedule != DEFAULT:
        pipe.scheduler = with_beta_schedule(pipe.scheduler, options.beta_schedule)


def motion_settings(pipe: MagicDancePipeline, options: argparse.Namespace) -> dict:
    """The pipeline's arguments that the options stand for; none where frames are made on their own from one noise.

    Raises InputError for options of windows where there is no motion module, unless --motion says none.
    """
    from ..sampling import Control, Windows

    noise = None if options.noise == DEFAULT else options.noise
    if pipe.motion is None:
        idle = [f"--{name.replace('_', '-')}" for name, plain in WITHOUT_MODULE.items() if vars(options)[name] != plain]
        if idle and options.motion != "none":
            raise InputError(f"{' and '.join(idle)} need a motion module, and there is none; give --motion a file.")
        return {} if noise in (None, "shared") else {"noise": noise}
    length = options.context or min(16, pipe.motion.max_frames)
    overlap = length // 4 if options.overlap is None else options.overlap
    strides = (1,) if options.stride == 1 else (1, options.stride)
    random = options.seed if options.random_starts else None
    return {
        "windows": Windows(length, overlap, strides, True, options.loop, options.window_weights, random),
        "noise": noise,
        "motion": Control(options.motion_strength),
    }


def write_frames(
    bunches: Iterator[Bunch], add: Callable[[Image.Image], None], progress: Callable[[int], object]
) -> int:
    """Hand frames on as soon as they are ready; how many there were."""
    from ..sampling import to_pil

    made = 0
    for bunch in bunches:
        for picture in to_pil(bunch.pictures):
            add(picture)
        made += len(bunch.frames)
        progress(len(bunch.frames))
    return made


def fill_folder(bunches: Iterator[Bunch], folder: Path, progress: Callable[[int], object], resumable: bool) -> None:
    """Write numbered frames, and after each bunch how far the run is, so that one that was killed can go on."""
    from ..checkpoints.tensors import write_tensors
    from ..media import in_background, write_picture
    from ..sampling import to_pil

    def put_away(pictures: dict[int, Image.Image], state: dict[str, Tensor] | None) -> None:
        for number, picture in pictures.items():
            write_picture(folder / f"{number:05d}.png", picture)
        if state is not None:
            with atomic_write(folder / STATE) as part:
                write_tensors(part, state)

    with in_background(put_away) as put_away_later:
        for bunch in bunches:
            pictures = dict(zip(bunch.frames, to_pil(bunch.pictures)))
            put_away_later(pictures, bunch.state() if resumable else None)
            progress(len(bunch.frames))


def stored_state(folder: Path) -> dict[str, Tensor] | None:
    """How far the run in a folder is; None where that is not known or a frame that it has made is gone."""
    from ..checkpoints.tensors import TensorFile

    if not (folder / STATE).is_file():
        return None
    file = TensorFile(folder / STATE)
    if not {"done", "frame", "step", "weight", "decoded", "clean_frame"} <= file.shapes.keys():
        return None
    state = {name: tensor.clone() for name, tensor in file.read(file.shapes)}
    present = sum(1 for path in folder.glob("*.png") if path.stem.isdecimal())
    return state if present >= int(state["decoded"]) else None


def _lora(text: str) -> tuple[Path, float]:
    name, _, strength = text.rpartition("=")
    try:
        return (location(name), float(strength)) if name else (location(text), 1.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no FILE=STRENGTH") from None
