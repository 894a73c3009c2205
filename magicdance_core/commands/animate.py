"""Animate a person: one picture and a sequence of poses become a video."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import CONTROL_MODES, FITS, FOREIGN_THRESHOLD
from ..errors import InputError
from ..files import as_path, check_target, existing
from .common import (
    add_model_arguments,
    add_score_argument,
    check_model,
    colour,
    file_path,
    frame_rate,
    load_model,
    positive_int,
    sampling_settings,
    seed,
    seeded_generator,
    size_unit,
)
from .conditions import add_condition_arguments, encode_prompts, load_loras, with_controls
from .contents import contents_of
from .driving_video import (
    add_video_arguments,
    check_video_options,
    extract_motion,
    video_frames,
    work_folder,
    write_with_audio,
)
from .face_pass import add_face_arguments, check_face_options, find, reference_person, refine, stage_folder
from .jobs import read_jobs, run_jobs
from .motion_edits import OWN_SOUND, add_edit_arguments, check_edits, edit, edits
from .motion_options import add_motion_arguments, load_chosen_motion, with_motion
from .output import ANOTHER, RESUME_HINT, check_folder, write_file
from .scene import REFERENCE, VIDEO, Scene, is_scene

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from ..media.fit import Box
    from ..pipeline import MagicDancePipeline
    from ..pose.maps import PoseMaps
    from ..sampling import EncodedReference, FrameChunk, Region
    from ..sampling.face_pass import Face, RefinedFrames
    from .driving_video import Motion

FALLBACK_FPS = 30.0
NEUTRAL_SETTINGS = ("batched_guidance", "frames_per_batch", "decode_chunk_size", "strength")  # change no frame here


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
        run = _Run(options, references, poses, source)
        if to_folder:
            run.fill_folder(out)
        else:
            run.write_file(out)
    else:
        motion = extract_motion(options, references)
        for finding in motion.findings:
            print(f"- {finding}")
        source = {"video": str(options.video.resolve())}
        run = _Run(options, references, draw_maps(motion.frames, motion.fps), source, motion)
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


class _Run:
    """A model, references and pose maps in their final sizes, ready to be sampled to a file or a folder.

    references: of one person; none to let poses and prompt decide. poses: None for frames without poses. source: what
    the poses come from, for the settings of a folder. motion: of a driving video.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        references: list[Image.Image],
        poses: PoseMaps | None,
        source: dict,
        motion: Motion | None = None,
    ):
        from ..checkpoints import ROLES
        from ..media import describe_crop, fit
        from ..puppets.domain_check import domain_warnings
        from ..sampling import to_images

        pipe = load_model(options.model, options.device, options.dtype)
        for role, given, name in (
            ("appearance", bool(references), "--reference"),
            ("pose", poses is not None, "--poses"),
        ):
            if given and getattr(pipe, role) is None:
                raise InputError(
                    f"{options.model} has no {ROLES[role].title}: leave out {name}, or give another model."
                )
        first = references[0] if poses is None else next(iter(poses))
        self.width, self.height = width, height = _size(pipe, options, first.size)
        cropped = options.fit == "keep" and describe_crop("", first.size, (width, height))
        around = poses.people_box() if poses is not None and cropped else None
        crops = [] if poses is None else [describe_crop("poses", first.size, (width, height), around)]
        fitted = []
        for reference in references:
            # All of one size, as they go through the VAE together, unless they are of several people.
            shape = _size(pipe, options, (reference if options.person == "all" else references[0]).size)
            crops.append(describe_crop("reference", reference.size, shape))
            fitted.append(fit(reference, *shape))
        if not references:
            print("without --reference, the prompt decides who is seen")
        if poses is None:
            print("without --poses or --video, the person stands as it likes")
        if any(crops):
            print("; ".join(filter(None, crops)))
        self._people: list[list[Face]] = []
        if options.face_pass is not None:
            assert poses is not None
            side = pipe.defaults["sample_size"]
            self._people = self._faces(options, references, poses, motion, around, side)
        if options.model == "embedded" and poses is not None and fitted:
            for remark in domain_warnings(to_images(fitted[0], "reference", 1), to_images(first, "poses", 1)):
                logging.warning("%s", remark)
        load_loras(pipe, options)
        load_chosen_motion(pipe, options)
        settings = with_motion(sampling_settings(pipe, options), pipe, options)
        settings = with_controls(replace(settings, control_mode=options.control_mode), options)
        if options.frames_per_batch:
            settings = replace(settings, frames_per_batch=options.frames_per_batch)
        if poses is None:
            self.total = options.limit or 1
        elif poses.count is None:
            self.total = sum(1 for _ in islice(poses, options.limit))
        else:
            self.total = min(poses.count, options.limit or poses.count)
        self.fps = options.fps or (None if poses is None else poses.fps) or FALLBACK_FPS
        self._pipe, self._options, self._settings = pipe, options, settings
        self._poses, self._around, self._prompts = poses, around, encode_prompts(pipe, options)
        self._encoded: EncodedReference | list[Region] | None = None
        self._source = source | {"contents": contents_of(options, poses)}
        self.scene: Scene | None = None
        if fitted:
            if motion is not None and is_scene(options):
                self.scene = Scene(
                    options, pipe, motion.cast(), fitted, (width, height), around,
                    partial(video_frames, options, motion.fps), motion.fps, self.total,
                )  # fmt: skip
                self._encoded = self.scene.regions
                self._source |= {"background": str(options.background), "person_masks": options.person_masks}
            else:
                self._encoded = pipe.encode_reference(fitted)
            pixels = b"".join(reference.tobytes() for reference in fitted)
            self._source |= {"reference": hashlib.sha256(pixels).hexdigest()[:16]}

    def write_file(self, out: Path) -> None:
        """Sample to one file, while earlier frames are written."""
        from ..sampling import to_pil

        with self._bar() as bar:
            chunks: Iterator[FrameChunk | RefinedFrames] = self._stream(bar, self.total)
            for faces in self._people:
                pictures = (picture for chunk in chunks for picture in to_pil(chunk.pictures))
                chunks = self._refine(bar, faces, pictures)
            write_file(out, self.fps, chunks, bar.update)

    def fill_folder(self, out: Path) -> None:
        """Sample the frames that a folder lacks, and refine their faces.

        With a face pass, each stage has a folder of its own in the work folder, from where a killed run continues.
        """
        from ..sampling.frame_folder import FrameFolder

        work = work_folder(self._options)
        stages = [*(stage_folder(work, number) for number in range(len(self._people))), out]
        with FrameFolder(out, self._describe(len(self._people)), ANOTHER) as folder:
            if not folder.missing(self.total):
                return
        try:
            with self._bar() as bar, FrameFolder(stages[0], self._describe(), ANOTHER) as folder:
                folder.fill(self._pipe.components, self._settings, self.total, partial(self._stream, bar), bar.update)
            for number, faces in enumerate(self._people, 1):
                self._fill_refined(stages[number], stages[number - 1], faces, number)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(RESUME_HINT) from None
        for stage in stages[:-1]:
            shutil.rmtree(stage)
        with contextlib.suppress(OSError):  # it holds something else
            work.rmdir()

    def _fill_refined(self, out: Path, before: Path, faces: list[Face], number: int) -> None:
        """Refine one person's faces in the frames of a folder."""
        from ..media import read_frames
        from ..sampling.frame_folder import FrameFolder, has_state

        with self._bar("faces") as bar, FrameFolder(out, self._describe(number), ANOTHER) as folder:
            state, done = folder.state()
            bar.update(done)
            chunks = self._refine(bar, faces, read_frames(before), done=done, state=state)
            folder.write(chunks, bar.update, keep_state=has_state(self._pipe.scheduler, self._settings))

    def _stream(self, bar: tqdm, end: int, **position) -> Iterator[FrameChunk]:
        from ..media import fit

        maps = None
        if self._poses is not None:
            maps = (fit(pose, self.width, self.height, self._around) for pose in islice(self._poses, self.total))
        return self._pipe.stream(
            self._encoded, maps, self.total, end=end, generator=seeded_generator(self._options.seed),
            settings=self._settings, background=None if self.scene is None else self.scene.background(),
            callback=lambda progress: bar.set_postfix_str(f"{progress.fraction:.1%}"), **self._prompts, **position,
        )  # fmt: skip

    def _faces(
        self,
        options: argparse.Namespace,
        references: list[Image.Image],
        poses: PoseMaps,
        motion: Motion | None,
        around: Box | None,
        side: int,
    ) -> list[list[Face]]:
        """Return the faces to refine, by person; each person of a scene by their own reference."""
        from ..pose.keypoints import people_apart
        from ..pose.maps import draw_maps

        size = self.width, self.height
        if motion is None or not is_scene(options) or len(motion.people) == 1:
            person = motion.people[0] if motion else None
            return find(options, poses, references[0], person, *size, around, side)
        return [
            faces
            for number, frames in people_apart(motion.frames).items()
            for faces in find(
                options, draw_maps(frames), references[number], motion.people[number], *size, around, side
            )
        ]

    def _refine(
        self, bar: tqdm, faces: list[Face], pictures: Iterable[Image.Image], **position
    ) -> Iterator[RefinedFrames]:
        return refine(
            self._pipe, self._settings, self._options, faces, pictures,
            lambda progress: bar.set_postfix_str(f"{progress.fraction:.1%}"), **self._prompts, **position,
        )  # fmt: skip

    def _bar(self, what: str = "frames") -> tqdm:
        from tqdm import tqdm

        return tqdm(total=self.total, desc=what, unit="frame")

    def _describe(self, stage: int = 0) -> dict:
        """Return what decides the frames of a stage of the run, as JSON can hold it; 0 is the first pass."""
        from ..schema import plain

        options, settings = self._options, self._settings
        described = self._source | {
            "model": str(options.model),
            "seed": options.seed,
            "width": self.width,
            "height": self.height,
            "dtype": str(self._pipe.unet.dtype),
            "scheduler": type(self._pipe.scheduler).__name__,
            "beta_schedule": options.beta_schedule,
            **{f.name: plain(getattr(settings, f.name)) for f in fields(settings) if f.name not in NEUTRAL_SETTINGS},
        }
        texts = {"prompt": options.prompt, "negative_prompt": options.negative_prompt, "lora": options.lora or None}
        described |= {name: plain(value) for name, value in texts.items() if value is not None}
        if self._pipe.motion is not None:  # then frames depend on each other
            described |= {"motion": str(options.motion), "motion_lora": str(options.motion_lora), "frames": self.total}
        if stage:
            described |= {"face_pass": options.face_pass, "faces_refined": stage}
            described |= {"face_lora": plain(options.face_lora)} if options.face_lora else {}
        return described


def _size(pipe: MagicDancePipeline, options: argparse.Namespace, size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height in which to process a picture of a size."""
    from ..media import fitted_size, size_of_area

    unit, side, keep = size_unit(pipe), pipe.defaults["sample_size"], options.fit == "keep"
    if keep and options.size is None:
        return size_of_area(*size, side, unit)
    return fitted_size(*size, options.size or side, unit, keep)
