"""A person in a picture performs a motion: one picture and a sequence of poses become a video."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import CONTROL_MODES, FITS
from ..errors import InputError
from ..files import check_target, read_json
from .common import (
    add_model_arguments,
    count,
    described,
    load_model,
    location,
    noise,
    rate,
    sampling_settings,
    seed,
    size_unit,
)
from .motion import (
    WITHOUT_MODULE,
    add_motion_arguments,
    fill_folder,
    load_chosen_motion,
    motion_settings,
    stored_state,
    write_frames,
)

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from ..pipeline import MagicDancePipeline
    from ..sampling import Bunch, Progress

# What a streamed run that is resumed must have in common with the one it goes on with, beside what every run must.
STREAM_OPTIONS = ("motion", "motion_lora", "beta_schedule", "noise", "frames_per_batch", *WITHOUT_MODULE)
# Frames are made and written this many at a time; a frame does not depend on the others of its chunk.
CHUNK = 16
SETTINGS = "settings.json"
FALLBACK_FPS = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="embedded, a checkpoint file, or a model folder")
    parser.add_argument("--reference", required=True, type=location, metavar="IMG", help="picture of the person")
    parser.add_argument(
        "--poses",
        required=True,
        type=location,
        metavar="DIR|VIDEO|JSON|NPZ",
        help="OpenPose maps, or keypoints to draw them of",
    )
    parser.add_argument(
        "--out", required=True, type=location, metavar="FILE|DIR",
        help="a .gif, .webp, .png, .mp4, .mov or .mkv file; without suffix a folder of numbered PNG frames",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="of the noise that all frames share (default: 0)")
    parser.add_argument("--resume", action="store_true", help="keep the frames that the folder has, make the others")
    parser.add_argument("--control-mode", choices=CONTROL_MODES, default=CONTROL_MODES[0])
    parser.add_argument("--size", type=count, help="short side in pixels (default: as many pixels as suit the model)")
    parser.add_argument(
        "--fit", choices=FITS, default=FITS[0],
        help="keep: the pictures' own shapes (default); square: crop the centre, as published",
    )  # fmt: skip
    parser.add_argument("--frames-per-batch", type=count, help="frames in a network at once; fewer need less memory")
    parser.add_argument("--fps", type=rate, help="of the written file (default: the driving video's, else 30)")
    parser.add_argument("--limit", type=count, metavar="N", help="only the first N poses")
    add_model_arguments(parser)
    add_motion_arguments(parser)


def run(options: argparse.Namespace) -> None:
    from ..media import check_animation_path, describe_crop, fit, read_picture
    from ..pose.maps import read_poses
    from ..puppets.domain_check import domain_warnings
    from ..sampling import to_images
    from ..sampling.steps import remembers

    out = options.out
    to_folder = out.is_dir() or not out.suffix
    if to_folder:
        _check_folder(out, options.resume)
    elif options.resume:
        raise InputError(f"Only a folder can be resumed and {out} is a file; give --out a name without suffix.")
    else:
        check_animation_path(out)
    reference, poses = read_picture(options.reference), read_poses(options.poses)
    first = next(iter(poses))

    pipe = load_model(options.model, options.device, options.dtype)
    if pipe.appearance is None or pipe.pose is None:
        raise InputError(f"{options.model} lacks Appearance Control or the Pose ControlNet; give a MagicDance model.")
    width, height = _size(pipe, options, first.size)
    around = poses.people_box() if options.fit == "keep" and describe_crop("", first.size, (width, height)) else None
    shape = _size(pipe, options, reference.size)
    taken = (
        describe_crop("poses", first.size, (width, height), around),
        describe_crop("reference", reference.size, shape),
    )
    if any(taken):
        print("; ".join(filter(None, taken)))
    reference = fit(reference, *shape)
    if options.model == "embedded":
        for remark in domain_warnings(to_images(reference, "reference", 1), to_images(first, "poses", 1)):
            logging.warning("%s", remark)
    load_chosen_motion(pipe, options)
    settings = sampling_settings(pipe, options) | {"control_mode": options.control_mode}
    motion = motion_settings(pipe, options)
    batch = {"frames_per_batch": options.frames_per_batch} if options.frames_per_batch else {}
    person = pipe.read(reference)

    def generate(chunk: list[Image.Image], bar: tqdm) -> list[Image.Image]:
        return pipe(
            person,
            [fit(pose, width, height, around) for pose in chunk],
            generator=noise(options.seed),
            callback=lambda progress: bar.set_postfix_str(f"step {progress.step + 1} of {progress.steps}"),
            **settings,
            **batch,
        ).frames

    total = min(filter(None, (options.limit, poses.count)), default=None)
    description = {
        "model": str(options.model),
        "reference": hashlib.sha256(reference.tobytes()).hexdigest()[:16],
        "poses": str(options.poses.resolve()),
        "seed": options.seed,
        "width": width,
        "height": height,
        "dtype": str(pipe.unet.dtype),
        "control_mode": options.control_mode,
        **described(pipe, settings),
    }
    fps = options.fps or poses.fps or FALLBACK_FPS
    if motion:
        total = total if poses.count else sum(1 for _ in islice(poses, options.limit))
        description |= {name: str(getattr(options, name)) for name in STREAM_OPTIONS} | {"frames": total}
        resumable = not (options.quick or remembers(pipe.scheduler) or settings["shortcuts"].pose_every > 1)
        fitted = (fit(pose, width, height, around) for pose in islice(poses, total))
        stream = partial(
            pipe.stream, person, fitted, total, quick=options.quick, generator=noise(options.seed),
            **settings, **motion, **batch,
        )  # fmt: skip
        if to_folder:
            _stream_to_folder(out, description, stream, total, resumable)
        else:
            _stream_to_file(out, fps, stream, total)
        made = total
    elif to_folder:
        made = _fill_folder(out, description, _chunks(islice(poses, options.limit)), generate, total)
    else:
        made = _write_file(out, fps, _chunks(islice(poses, options.limit)), generate, total)
    print(f"{made} frames of {width} x {height} pixels in {out}")


def _size(pipe: MagicDancePipeline, options: argparse.Namespace, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height in which to process a picture of some size."""
    from ..media import fitted_size, size_of_area

    unit, side, keep = size_unit(pipe), pipe.defaults["sample_size"], options.fit == "keep"
    if keep and options.size is None:
        return size_of_area(*size, side, unit)
    return fitted_size(*size, options.size or side, unit, keep)


def _check_folder(folder: Path, resume: bool) -> None:
    check_target(folder / SETTINGS)
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not resume:
        raise InputError(f"{folder} is not empty; add --resume to go on with it, or give --out another name.")
    if not (folder / SETTINGS).is_file():
        raise InputError(f"{folder} holds no {SETTINGS}, so it cannot be resumed; give --out another name.")


def _chunks(poses: Iterator[Image.Image]) -> Iterator[list[Image.Image]]:
    while chunk := list(islice(poses, CHUNK)):
        yield chunk


def _write_file(out: Path, fps: float, chunks, generate, total: int | None) -> int:
    from ..media import in_background, write_animation

    made = 0
    with write_animation(out, fps) as add, in_background(add) as add_later, _bar(total) as progress:
        for chunk in chunks:
            for frame in generate(chunk, progress):
                add_later(frame)
            progress.update(len(chunk))
            made += len(chunk)
    return made


def _fill_folder(folder: Path, settings: dict, chunks, generate, total: int | None) -> int:
    """Write the frames that are not there. A chunk is always made as a whole, so that each frame is the same to the bit
    whether or not the run was interrupted."""
    from ..media import in_background, write_json, write_picture

    description, made = folder / SETTINGS, 0
    if description.exists():
        _compare_settings(description, settings)
    try:
        with in_background(write_picture) as write_later, _bar(total) as progress:
            for chunk in chunks:
                files = [folder / f"{made + k:05d}.png" for k in range(len(chunk))]
                missing = [file for file in files if not file.exists()]
                for file, frame in zip(files, generate(chunk, progress) if missing else ()):
                    if not description.exists():
                        write_json(description, settings)
                    if file in missing:
                        write_later(file, frame)
                progress.update(len(chunk))
                made += len(chunk)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command with --resume makes the other frames.") from None
    return made


def _stream_to_file(out: Path, fps: float, run: Callable[..., Iterator[Bunch]], total: int) -> None:
    from ..media import in_background, write_animation

    with write_animation(out, fps) as add, in_background(add) as add_later, _bar(total) as bar:
        write_frames(run(callback=_tell(bar)), add_later, bar.update)


def _stream_to_folder(
    folder: Path, settings: dict, run: Callable[..., Iterator[Bunch]], total: int, resumable: bool
) -> None:
    from ..media import write_json

    description = folder / SETTINGS
    if description.exists():
        _compare_settings(description, settings)
    state = stored_state(folder)

    def bunches(bar: tqdm) -> Iterator[Bunch]:
        for bunch in run(callback=_tell(bar), state=state):
            if not description.exists():  # what is refused leaves no folder behind
                write_json(description, settings)
            yield bunch

    try:
        with _bar(total) as bar:
            bar.update(0 if state is None else int(state["decoded"]))
            fill_folder(bunches(bar), folder, bar.update, resumable)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; the same command with --resume makes the other frames.") from None


def _bar(total: int | None) -> tqdm:
    from tqdm import tqdm

    return tqdm(total=total, desc="frames", unit="frame")


def _tell(bar: tqdm) -> Callable[[Progress], None]:
    return lambda progress: bar.set_postfix_str(f"{progress.fraction:.1%} of the work")


def _compare_settings(path: Path, settings: dict) -> None:
    try:
        before = read_json(path, "what animate began")
        changed = [
            f"{key} {before.get(key)}, not {settings.get(key)}"
            for key in settings | before
            if before.get(key) != settings.get(key)
        ]
    except (InputError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give --out another name.") from error
    if changed:
        raise InputError(f"{path.parent} was begun with {'; '.join(changed)}: repeat that or give --out another name.")
