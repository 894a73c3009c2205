"""Animate a person: one picture and a sequence of poses become a video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import CONTROL_MODES, FITS, FOREIGN_THRESHOLD
from ..errors import InputError
from ..files import as_path, check_target, existing
from .animation import Animation
from .common import (
    add_model_arguments,
    add_score_argument,
    check_model,
    colour,
    file_path,
    frame_rate,
    positive_int,
    seed,
)
from .conditions import add_condition_arguments
from .driving_video import (
    FALLBACK_FPS,
    add_video_arguments,
    check_video_options,
    extract_motion,
    write_with_audio,
)
from .face_pass import add_face_arguments, check_face_options, reference_person
from .jobs import read_jobs, run_jobs
from .motion_edits import OWN_SOUND, add_edit_arguments, check_edits, edit, edits
from .motion_options import add_motion_arguments
from .output import check_folder
from .scene import REFERENCE, VIDEO

if TYPE_CHECKING:
    from PIL import Image

    from ..pose.maps import PoseMaps


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="embedded, a checkpoint file, or a model folder")
    parser.add_argument(
        "--reference", type=file_path, action="append", metavar="IMG",
        help="picture of the person; several add up. Without it, poses and a prompt decide",
    )  # fmt: skip
    motion = parser.add_mutually_exclusive_group()
    motion.add_argument(
        "--video", type=file_path, metavar="VIDEO",
        help="a video of somebody dancing: extracted, followed, smoothed, retargeted to the reference; with its sound",
    )  # fmt: skip
    motion.add_argument(
        "--poses", type=file_path, metavar="DIR|VIDEO|JSON|NPZ",
        help="OpenPose maps, or keypoints to draw them from. Without them, the person stands as it likes",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=file_path, metavar="FILE|DIR",
        help="a .gif, .webp, .png, .mp4, .mov or .mkv file; without suffix a folder of numbered PNG frames",
    )  # fmt: skip
    add_score_argument(parser)
    parser.add_argument(
        "--background-color", type=colour, default=(255, 255, 255), metavar="COLOR",
        help="put behind the transparent pixels of the reference: a name or #rrggbb (default: white)",
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
    parser.add_argument(
        "--limit", type=positive_int, metavar="N", help="only the first N poses; without poses, N frames"
    )
    parser.add_argument(
        "--jobs", type=file_path, metavar="FILE.csv",
        help="many runs: a table whose columns are options (reference, video, out, seed, ...); a failed job does not "
        "stop the others, the same command continues, and processes of accelerate launch share the rows",
    )  # fmt: skip
    add_model_arguments(parser)
    add_condition_arguments(parser)
    add_motion_arguments(parser)
    add_face_arguments(parser)
    add_edit_arguments(parser.add_argument_group("changes to the motion"), "the reference")
    add_video_arguments(parser)
    parser.set_defaults(parser=parser, detections=None)


def run(options: argparse.Namespace) -> None:
    if options.jobs is None:
        check(options)
        animate(options)
    else:
        run_jobs(read_jobs(options.jobs, options.parser, options, check_job, inputs), options.jobs, animate)


def check(options: argparse.Namespace) -> None:
    """Raise InputError for options that cannot be run, before anything heavy is imported."""
    required = {"--model": options.model, "--out": options.out}
    required["--reference, --poses or --video"] = options.reference or options.poses or options.video
    if missing := [name for name, value in required.items() if value is None]:
        raise InputError(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} required: see animate --help.")
    if options.video and options.poses:
        raise InputError("--video and --poses are both given: give one of them.")
    if options.video and not options.reference:
        raise InputError(
            "--video is fitted to the person of a reference: give --reference, too, or --poses in its place."
        )
    check_model(options.model)
    for name, path in inputs(options).items():
        existing(path)
        if options.out.exists() and options.out.samefile(path):
            raise InputError(f"{options.out} is the {name}, which the result would replace: give --out another name.")
    check_video_options(options)
    check_face_options(options)
    check_edits(options, options.video)
    if options.out.suffix and options.resume and options.poses and not options.out.is_dir():
        raise InputError(f"Only a folder can be resumed and {options.out} is a file: give --out a name without suffix.")


def inputs(options: argparse.Namespace) -> dict[str, Path]:
    """Return the files and folders that a run reads, by name."""
    named = {"video": options.video, "poses": options.poses}
    named["model"] = None if options.model == "embedded" else Path(options.model)
    named["motion module"] = None if options.motion in (None, "none", "embedded") else as_path(options.motion)
    named["background"] = None if options.background in (REFERENCE, VIDEO) else as_path(options.background)
    for name in ("match_beat", "mouth_audio"):
        music = getattr(options, name)
        named[name.replace("_", " ")] = None if music == OWN_SOUND else music
    for what, paths in (
        ("reference", options.reference or ()),
        ("LoRA", [file for file, _ in (*options.lora, *options.face_lora)]),
        ("motion LoRA", [file for file, _ in options.motion_lora]),
    ):
        named |= {f"{what} {number}" if number > 1 else what: path for number, path in enumerate(paths, 1)}
    return {name: path for name, path in named.items() if path is not None}


def check_job(options: argparse.Namespace) -> None:
    """Raise InputError for a job that cannot be run; one that was begun continues."""
    check(options)
    _check_out(options.out, resume=True)


def _check_out(out: Path, resume: bool) -> bool:
    """Return whether the frames are written to a folder, not to a file. Raises InputError if they cannot be."""
    from ..media import check_animation_path

    if out.is_dir() or not out.suffix:
        check_folder(out, resume)
        return True
    check_target(out)
    check_animation_path(out)
    return False


def animate(options: argparse.Namespace) -> None:
    """Make one video or folder of frames of checked options."""
    from ..media import read_picture
    from ..pose.maps import draw_maps, read_poses

    out = options.out
    to_folder = _check_out(out, options.resume)
    references = [read_picture(path, options.background_color) for path in options.reference or ()]
    if options.video is None:
        source, poses = {}, None
        if options.poses:
            source["poses"] = str(options.poses.resolve())
            poses = read_poses(options.poses, options.min_score)
        if options.min_score != FOREIGN_THRESHOLD:
            source["min_score"] = options.min_score
        if changes := edits(options):
            if poses is None:
                raise InputError(f"{', '.join(changes)} change poses, and there are none: give --poses or --video.")
            poses, source = _edited(options, poses, references), source | changes
        run = Animation(options, references, poses, source)
        if to_folder:
            run.fill_folder(out)
        else:
            run.write_file(out)
    else:
        motion = extract_motion(options, references)
        for finding in motion.findings:
            print(f"- {finding}")
        source = {"video": str(options.video.resolve())}
        run = Animation(options, references, draw_maps(motion.frames, motion.fps), source, motion)
        for finding in run.scene.findings if run.scene else ():
            print(f"- {finding}")
        write_with_audio(run, motion, options, to_folder)
    print(f"{run.total} frames of {run.width} x {run.height} pixels in {out}")


def _edited(options: argparse.Namespace, poses: PoseMaps, references: list[Image.Image]) -> PoseMaps:
    """Return the maps of changed keypoints. Raises InputError for maps that were drawn before."""
    from ..pose.maps import draw_maps

    if poses.keypoints is None:
        raise InputError(
            f"{', '.join(edits(options))} change keypoints and --poses gives drawn maps: give a keypoint file, what "
            "extract wrote, or --video."
        )
    if options.still_face and not references:
        raise InputError("--still-face keeps the face of a reference: give --reference.")
    person = reference_person(options, references[0]) if options.still_face else None
    fps = options.fps or poses.fps or FALLBACK_FPS
    return draw_maps(edit(poses.keypoints[: options.limit], fps, options, person).frames, poses.fps)
