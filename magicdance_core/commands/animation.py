"""One animation: the model, references and pose maps of `animate`, sampled to a file or a folder."""

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

from ..errors import InputError
from .common import load_model, sampling_settings, seeded_generator, size_unit
from .conditions import encode_prompts, load_loras, with_controls
from .contents import contents_of
from .driving_video import FALLBACK_FPS, video_frames, work_folder
from .face_pass import find, refine, stage_folder
from .motion_options import load_chosen_motion, with_motion
from .output import ANOTHER, RESUME_HINT, write_file
from .scene import Scene, is_scene

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from ..media.fit import Box
    from ..pipeline import MagicDancePipeline
    from ..pose.maps import PoseMaps
    from ..sampling import EncodedReference, FrameChunk, Region
    from ..sampling.face_pass import Face, RefinedFrames
    from .driving_video import Motion

NEUTRAL_SETTINGS = ("batched_guidance", "frames_per_batch", "decode_chunk_size", "strength")  # change no frame here


class Animation:
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
