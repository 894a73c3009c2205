"""Keypoints and pose maps of a person in a video, for `animate` and for training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..choices import DETECTORS, PEOPLE, SMOOTHING_METHODS, TORCH_DETECTORS
from ..errors import InputError
from ..launcher import rank_and_size
from .common import add_score_argument, file_path, frame_rate, nonnegative_int, positive_int, torch_device
from .motion_edits import add_edit_arguments, check_edits, edit, edits

REPORT, BEAT_PLOT = "report.json", "beat.png"

if TYPE_CHECKING:
    from ..pose.detectors import Detector, DetectorChoice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", type=file_path, metavar="VIDEO",
        help="a video, a folder of pictures, an animation, or a folder of videos, which processes of accelerate launch "
        "share; or keypoints (.json, .npz) to track, fill and smooth",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=file_path, metavar="DIR", help="a new folder for everything")
    add_extraction_arguments(parser)
    parser.add_argument(
        "--device", help="for openpose and mediapipe: cpu, cuda, mps, ... (default: a GPU where there is one)"
    )
    parser.add_argument("--fps", type=frame_rate, default=30.0, help="of the poses, by a video's times (default: 30)")
    parser.add_argument(
        "--retarget", type=file_path, metavar="PERSON",
        help="fit the motion to the body of the person in a picture (found with the same detector) or keypoint file",
    )  # fmt: skip
    parser.add_argument(
        "--width", type=positive_int, help="of the pictures, for OpenPose's own JSON, which does not say it"
    )
    parser.add_argument("--height", type=positive_int, help="the same")
    add_score_argument(parser)
    add_edit_arguments(parser.add_argument_group("changes"), "PERSON of --retarget")


def add_detector_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the options of the detector that load_detector() reads, except --device."""
    parser.add_argument(
        "--detector", choices=DETECTORS, default=DETECTORS[0],
        help="auto: the first of the next three whose files are there (default); dwpose: onnxruntime; openpose: "
        "controlnet-aux; mediapipe: Google's networks, run by torch; drawn: the video shows pose maps, read the body",
    )  # fmt: skip
    parser.add_argument(
        "--models", type=file_path, default=Path("models/magicdance_pose"), metavar="FOLDER",
        help="where the detector's files are (default: models/magicdance_pose)",
    )  # fmt: skip


def add_extraction_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup, smooth: str = "none") -> None:
    """Add the options of detecting and following a person. smooth: the default of --smooth."""
    add_detector_arguments(parser)
    parser.add_argument(
        "--person", type=_person, default=PEOPLE[0], metavar="|".join([*PEOPLE, "N"]),
        help="whom to follow: the largest in each frame, the most present one (default), or a number from 0",
    )  # fmt: skip
    parser.add_argument(
        "--max-gap", type=nonnegative_int, default=15, metavar="N", help="fill gaps of up to N frames (default: 15)"
    )
    parser.add_argument(
        "--smooth", choices=("none", *SMOOTHING_METHODS), default=smooth, help=f"less jitter (default: {smooth})"
    )


def run(options: argparse.Namespace) -> None:
    if videos := _videos(options.source):
        _extract_all(videos, options)
    else:
        _extract(options)


def _videos(source: Path) -> list[Path]:
    """Return the videos of a folder that holds videos and no pictures; otherwise the source is one motion."""
    from ..files import existing, files_with_suffix

    if not existing(source).is_dir():
        return []
    from ..media.read import PICTURE_SUFFIXES, VIDEO_SUFFIXES

    return [] if files_with_suffix(source, PICTURE_SUFFIXES) else files_with_suffix(source, VIDEO_SUFFIXES)


def _extract_all(videos: list[Path], options: argparse.Namespace) -> None:
    """Extract this process' part of the videos, each into a folder of its name; those that are done are skipped.

    Raises InputError at the end if a video failed, which does not stop the others.
    """
    twice = {video.stem for video in videos if sum(other.stem == video.stem for other in videos) > 1}
    if twice:
        raise InputError(f"{options.source} holds two videos named {min(twice)}: give them different names.")
    rank, size = rank_and_size()
    part, failed = videos[rank::size], []
    for number, video in enumerate(part, 1):
        out = options.out / video.stem
        if (out / REPORT).is_file():
            continue
        print(f"[{number}/{len(part)}] {video.name}")
        try:
            _extract(argparse.Namespace(**vars(options) | {"source": video, "out": out}))
        except (InputError, OSError) as error:
            failed.append(video.name)
            print(f"{video.name} failed: {error}", file=sys.stderr)
    print(f"{len(part) - len(failed)} of {len(part)} videos in {options.out}")
    if failed:
        raise InputError(f"{len(failed)} of {len(part)} videos failed, {failed[0]} first: see the messages above.")


def _extract(options: argparse.Namespace) -> None:
    from ..files import atomic_folder
    from ..media import write_json, write_picture
    from ..pose.extraction import follow
    from ..pose.keypoint_files import holds_keypoints, save_keypoints
    from ..pose.retarget import first_frame_with_people, retarget
    from ..pose.smooth import smooth

    video = None if options.source.is_dir() or holds_keypoints(options.source) else options.source
    check_edits(options, video)
    if options.still_face and not options.retarget:
        raise InputError("--still-face takes the face of another person: give --retarget.")
    with atomic_folder(options.out) as folder:
        search = _Search(options)
        person = first_frame_with_people(search.people(options.retarget)[0]) if options.retarget else None
        found, pictures = search.people(options.source)
        extraction = follow(found, options.person, options.max_gap)
        frames = extraction.frames
        if options.smooth != "none":
            frames = smooth(frames, options.smooth, fps=options.fps)
        fitted = retarget(frames, person) if person else frames
        edited = edit(fitted, options.fps, options, person, video)
        fitted = edited.frames
        if edited.plot:
            write_picture(folder / BEAT_PLOT, edited.plot)
        save_keypoints(folder / "keypoints.npz", fitted)
        save_keypoints(folder / "keypoints.json", fitted)
        _draw(folder, frames, fitted, pictures, options.fps)
        report: dict[str, Any] = {"source": str(options.source), **search.report(pictures is not None)}
        report |= {"fps": options.fps, "damaged": pictures.damaged if pictures else 0, "smooth": options.smooth}
        report |= {"retarget": str(options.retarget) if person else None}
        report |= {"edits": edits(options), **edited.report}
        write_json(folder / REPORT, report | extraction.report)
    search.tell()
    _summary(extraction.report, options.out)


def load_detector(options: argparse.Namespace) -> tuple[Detector, DetectorChoice]:
    """Return the detector of --detector, --models and --device, and why it was chosen."""
    from ..pose.detectors import choose_detector, make_detector

    choice = choose_detector(options.detector, lambda file: options.models)
    device = torch_device(options.device) if choice.name in TORCH_DETECTORS else "cpu"
    return make_detector(choice.name, choice.folder, device), choice


class _Search:
    """Finds people in files; loads the detector when a file with pictures needs it."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.detector: Detector | None = None
        self.choice: DetectorChoice | None = None

    def people(self, source: Path):
        """Return everybody in each frame, and the pictures to draw over, None if the file holds keypoints."""
        from tqdm import tqdm

        from ..files import existing
        from ..media.resampling import ResampledFrames
        from ..pose.extraction import detect
        from ..pose.keypoint_files import holds_keypoints, load_keypoints

        source, options = existing(source), self.options
        if holds_keypoints(source):
            return load_keypoints(source, options.width, options.height, options.min_score, remark=True), None
        pictures = ResampledFrames(source, options.fps)
        if self.detector is None:
            self.detector, self.choice = load_detector(options)
        with tqdm(total=pictures.count, desc="detecting", unit="frame") as bar:
            return detect(pictures, self.detector, lambda done: bar.update(done - bar.n)), pictures

    def report(self, searched: bool) -> dict[str, str]:
        """Return the detector and why it was chosen. searched: whether the source was searched for people."""
        if self.choice is None or not searched:
            return {"detector": "keypoints"}
        return {"detector": self.choice.name, "detector_reason": self.choice.reason}

    def tell(self) -> None:
        if self.choice is not None:
            print(f"detector {self.choice.name}: {self.choice.reason}")


def _draw(folder: Path, frames: list, fitted: list, pictures, fps: float) -> None:
    """Pose maps of the fitted frames; the frames as they were found over their pictures."""
    import numpy as np
    from PIL import Image
    from tqdm import tqdm

    from ..media import write_animation, write_picture
    from ..pose.draw import draw_pose, overlay

    shown = iter(pictures) if pictures else iter(())
    last = np.zeros((frames[0].height, frames[0].width, 3), np.uint8)
    with write_animation(folder / "overlay.mp4", fps) as add:
        for number, frame in enumerate(tqdm(frames, desc="drawing", unit="frame")):
            picture = next(shown, None)
            last = last if picture is None else picture
            write_picture(folder / "poses" / f"{number:05d}.png", Image.fromarray(draw_pose(fitted[number])))
            add(Image.fromarray(overlay(last, frame)))


def _person(text: str) -> str | int:
    if text in PEOPLE:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is neither {', '.join(PEOPLE)} nor a number from 0")
    return int(text)


def _summary(report: dict, out: Path) -> None:
    shown, total = report["frames_with_person"], report["frames"]
    print(f"a person in {shown} of {total} frames; keypoints, poses, overlay.mp4 and report.json in {out}")
    for part, counts in report["parts"].items():
        print(f"{part:<11}" + "".join(f"  {name} {number}" for name, number in counts.items()))
    for sentence in report["missing"]:
        print(sentence)
