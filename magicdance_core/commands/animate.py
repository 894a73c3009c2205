"""Animate a person: one picture and a sequence of poses become a video."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import islice
from typing import TYPE_CHECKING

from ..choices import CONTROL_MODES, FITS
from ..errors import InputError
from .common import (
    add_model_arguments,
    file_path,
    frame_rate,
    load_model,
    positive_int,
    sampling_settings,
    seed,
    seeded_generator,
    size_unit,
)
from .motion_options import add_motion_arguments, load_chosen_motion, with_motion
from .output import FrameFolder, batches_to_make, write_file

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from ..pipeline import MagicDancePipeline
    from ..sampling import FrameChunk, SamplingSettings

FALLBACK_FPS = 30.0
NEUTRAL_SETTINGS = ("batched_guidance", "frames_per_batch", "decode_chunk_size")  # they change no frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, help="embedded, a checkpoint file, or a model folder")
    parser.add_argument("--reference", required=True, type=file_path, metavar="IMG", help="picture of the person")
    parser.add_argument(
        "--poses",
        required=True,
        type=file_path,
        metavar="DIR|VIDEO|JSON|NPZ",
        help="OpenPose maps, or keypoints to draw them from",
    )
    parser.add_argument(
        "--out", required=True, type=file_path, metavar="FILE|DIR",
        help="a .gif, .webp, .png, .mp4, .mov or .mkv file; without suffix a folder of numbered PNG frames",
    )  # fmt: skip
    parser.add_argument("--seed", type=seed, default=0, help="seed of the noise (default: 0)")
    parser.add_argument("--resume", action="store_true", help="keep the frames that the folder has, make the others")
    parser.add_argument("--control-mode", choices=CONTROL_MODES, default=CONTROL_MODES[0])
    parser.add_argument(
        "--size", type=positive_int, help="short side in pixels (default: as many pixels as suit the model)"
    )
    parser.add_argument(
        "--fit", choices=FITS, default=FITS[0],
        help="keep: the pictures' own aspect ratios (default); square: crop the centre, as published",
    )  # fmt: skip
    parser.add_argument(
        "--frames-per-batch",
        type=positive_int,
        help="frames per forward pass without a motion module; fewer need less memory",
    )
    parser.add_argument("--fps", type=frame_rate, help="frame rate of the file (default: the driving video's, else 30)")
    parser.add_argument("--limit", type=positive_int, metavar="N", help="only the first N poses")
    add_model_arguments(parser)
    add_motion_arguments(parser)


def run(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ..media import check_animation_path, describe_crop, fit, read_picture
    from ..pose.maps import read_poses
    from ..puppets.domain_check import domain_warnings
    from ..sampling import to_images

    out = options.out
    to_folder = out.is_dir() or not out.suffix
    if to_folder:
        FrameFolder.check(out, options.resume)
    elif options.resume:
        raise InputError(f"Only a folder can be resumed and {out} is a file: give --out a name without suffix.")
    else:
        check_animation_path(out)
    reference, poses = read_picture(options.reference), read_poses(options.poses)
    first = next(iter(poses))

    pipe = load_model(options.model, options.device, options.dtype)
    if pipe.appearance is None or pipe.pose is None:
        raise InputError(f"{options.model} lacks Appearance Control or the Pose ControlNet: give a MagicDance model.")
    width, height = _size(pipe, options, first.size)
    around = poses.people_box() if options.fit == "keep" and describe_crop("", first.size, (width, height)) else None
    shape = _size(pipe, options, reference.size)
    crops = (
        describe_crop("poses", first.size, (width, height), around),
        describe_crop("reference", reference.size, shape),
    )
    if any(crops):
        print("; ".join(filter(None, crops)))
    reference = fit(reference, *shape)
    if options.model == "embedded":
        for remark in domain_warnings(to_images(reference, "reference", 1), to_images(first, "poses", 1)):
            logging.warning("%s", remark)
    load_chosen_motion(pipe, options)
    settings = with_motion(sampling_settings(pipe, options), pipe, options)
    settings = replace(settings, control_mode=options.control_mode)
    if options.frames_per_batch:
        settings = replace(settings, frames_per_batch=options.frames_per_batch)

    if poses.count is None:
        total = sum(1 for _ in islice(poses, options.limit))
    else:
        total = min(poses.count, options.limit or poses.count)
    encoded = pipe.encode_reference(reference)

    def pose_maps(end: int) -> Iterator[Image.Image]:
        return (fit(pose, width, height, around) for pose in islice(poses, end))

    def stream(bar: tqdm, **position) -> Iterator[FrameChunk]:
        end = position.pop("end", total)
        return pipe.stream(
            encoded, pose_maps(end), end, generator=seeded_generator(options.seed), settings=settings,
            callback=lambda progress: bar.set_postfix_str(f"{progress.fraction:.1%}"), **position,
        )  # fmt: skip

    with tqdm(total=total, desc="frames", unit="frame") as bar:
        if not to_folder:
            write_file(out, options.fps or poses.fps or FALLBACK_FPS, stream(bar), bar.update)
        else:
            description = {
                "model": str(options.model),
                "reference": hashlib.sha256(reference.tobytes()).hexdigest()[:16],
                "poses": str(options.poses.resolve()),
                "seed": options.seed,
                "width": width,
                "height": height,
                "dtype": str(pipe.unet.dtype),
                **_describe(pipe, options, settings, total),
            }
            with FrameFolder(out, description) as folder:
                _fill(folder, pipe, settings, total, stream, bar)
    print(f"{total} frames of {width} x {height} pixels in {out}")


def _fill(
    folder: FrameFolder, pipe: MagicDancePipeline, settings: SamplingSettings, total: int, stream, bar: tqdm
) -> None:
    """Write the frames that the folder lacks: from the last state of the run, or where frames are independent, the
    batches with missing frames."""
    from ..sampling.steps import is_stateful

    if pipe.motion is not None:
        resumable = not (settings.quick or is_stateful(pipe.scheduler) or settings.shortcuts.pose_every > 1)
        state, made = folder.state()
        bar.update(made)
        folder.write(stream(bar, state=state), bar.update, resumable)
        return
    ranges = list(batches_to_make(folder.missing(total), total, settings.frames_per_batch))
    bar.update(total - sum(end - first for first, end in ranges))
    for first, end in ranges:
        folder.write(stream(bar, first=first, end=end), bar.update, False)


def _describe(pipe: MagicDancePipeline, options: argparse.Namespace, settings: SamplingSettings, total: int) -> dict:
    """Return what decides the frames of a run, besides its inputs, as JSON can hold it."""
    from ..schema import plain

    described = {
        "scheduler": type(pipe.scheduler).__name__,
        "beta_schedule": options.beta_schedule,
        **{f.name: plain(getattr(settings, f.name)) for f in fields(settings) if f.name not in NEUTRAL_SETTINGS},
    }
    if pipe.motion is not None:  # then frames depend on each other
        described |= {"motion": str(options.motion), "motion_lora": str(options.motion_lora), "frames": total}
    return described


def _size(pipe: MagicDancePipeline, options: argparse.Namespace, size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in which to process a picture of a size."""
    from ..media import fitted_size, size_of_area

    unit, side, keep = size_unit(pipe), pipe.defaults["sample_size"], options.fit == "keep"
    if keep and options.size is None:
        return size_of_area(*size, side, unit)
    return fitted_size(*size, options.size or side, unit, keep)
