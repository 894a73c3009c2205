"""The face pass of `animate`: what it needs to know about the faces, and its frames."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..choices import FACE_PASS_STRENGTH
from ..errors import InputError
from ..files import existing
from .common import file_path, fraction, seeded_generator
from .conditions import lora_file
from .extract import load_detector

if TYPE_CHECKING:
    from PIL import Image

    from ..media.fit import Box
    from ..pipeline import MagicDancePipeline
    from ..pose.keypoints import PoseFrame
    from ..pose.maps import PoseMaps
    from ..sampling import Progress, SamplingSettings
    from ..sampling.face_pass import Face, RefinedFrames


def add_face_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the face pass."""
    group = parser.add_argument_group("face pass")
    group.add_argument(
        "--face-pass", type=_strength, nargs="?", const=FACE_PASS_STRENGTH, metavar="STRENGTH",
        help="sample the faces again, enlarged to the model's size; from above 0 (as they are) to 1 (anew), "
        f"{FACE_PASS_STRENGTH} without a number",
    )  # fmt: skip
    group.add_argument(
        "--face-lora", action="append", default=[], type=lora_file, metavar="FILE[:STRENGTH]",
        help="a LoRA for the face pass alone, such as one trained on close-ups; may be repeated (strength: 1; the "
        "embedded model has its own)",
    )  # fmt: skip
    group.add_argument(
        "--reference-keypoints", type=file_path, metavar="FILE",
        help="keypoints of the reference (default: detected, see --detector)",
    )  # fmt: skip


def check_face_options(options: argparse.Namespace) -> None:
    """Raise InputError for options of the face pass that cannot be used, before anything is read."""
    if options.face_pass is not None and not (options.reference and (options.poses or options.video)):
        raise InputError(
            "--face-pass needs the face of a reference and its poses: give --reference and --poses or --video."
        )
    if options.face_lora and options.face_pass is None:
        raise InputError("--face-lora changes the face pass: give --face-pass, or leave it out.")
    if options.reference_keypoints is not None:
        if options.face_pass is None and not options.still_face:
            raise InputError("--reference-keypoints needs --face-pass or --still-face: give one, or leave it out.")
        existing(options.reference_keypoints)


def find(
    options: argparse.Namespace,
    poses: PoseMaps,
    reference: Image.Image,
    person: PoseFrame | None,
    width: int,
    height: int,
    around: Box | None,
    size: int,
) -> list[list[Face]]:
    """Return the faces to refine in frames of `width` x `height` pixels, by person.

    poses: of all frames. person: keypoints of the reference, None to read or detect them. around: what the maps are
    fitted around (see media.fit). size: of the model's pictures.
    Raises InputError if the poses are drawn maps, which show no landmark by its number, and if there is no face.
    """
    from ..media.fit import crop_box
    from ..pose.face_crops import crop_keypoints
    from ..sampling.face_pass import find_faces

    if poses.keypoints is None:
        raise InputError(
            "The face pass needs keypoints and --poses gives drawn maps: give a keypoint file, what extract wrote, or "
            "--video."
        )
    frames = poses.keypoints[: options.limit]
    box = crop_box((frames[0].width, frames[0].height), (width, height), around)
    fitted = [crop_keypoints(frame, box, width, height) for frame in frames]
    return find_faces(fitted, width, height, reference, person or reference_person(options, reference), size)


def refine(
    pipe: MagicDancePipeline,
    settings: SamplingSettings,
    options: argparse.Namespace,
    faces: Sequence[Face],
    pictures: Iterable[Image.Image],
    callback: Callable[[Progress], None],
    **position,
) -> Iterator[RefinedFrames]:
    """Refine one person's faces in the frames of a run. settings: of the first pass. position: see `refine_faces`."""
    from ..sampling import to_images
    from ..sampling.face_pass import face_settings, refine_faces

    frames = (to_images(picture, "A frame", 1)[0] for picture in pictures)
    model, placement = pipe.face_model()
    return refine_faces(
        model, face_settings(settings.resolve(pipe.defaults), options.face_pass), frames, faces,
        generator=seeded_generator(options.seed), placement=placement, callback=callback, **position,
    )  # fmt: skip


def reference_person(options: argparse.Namespace, reference: Image.Image) -> PoseFrame:
    """Return the keypoints of the reference: those of a file, or detected ones."""
    import numpy as np

    from ..pose.extraction import detect
    from ..pose.keypoint_files import load_keypoints
    from ..pose.retarget import first_frame_with_people

    if options.reference_keypoints is not None:
        width, height = reference.size
        return first_frame_with_people(load_keypoints(options.reference_keypoints, width, height, options.min_score))
    detector, choice = load_detector(options)
    print(f"detector {choice.name}: {choice.reason}")
    return first_frame_with_people(detect([np.asarray(reference)], detector))


def _strength(text: str) -> float:
    value = fraction(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 changes nothing, leave the option out or give up to 1")
    return value


def stage_folder(work: Path, number: int) -> Path:
    """Return where the frames of a stage are kept until the next one is done: 0 is the first pass."""
    return work / f"stage_{number}"
