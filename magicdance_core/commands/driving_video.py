"""The motion of a raw driving video for `animate`: extracted, retargeted to the reference, kept for resumed runs."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import check_target, existing_file, read_json, write_text
from .common import file_path, nonnegative_float
from .contents import keypoint_digest
from .extract import BEAT_PLOT, add_extraction_arguments, load_detector
from .motion_edits import OWN_SOUND, edit, edits
from .scene import Cast, add_scene_arguments, assign, cast_people, check_scene_options, is_scene

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from ..media.resampling import ResampledFrames
    from ..pose.detectors.detector import Detector
    from ..pose.keypoints import PoseFrame

KEYPOINTS, PERSON, EVERYONE = "keypoints.npz", "reference.npz", "everyone.npz"
REPORT, SHEET = "report.json", "sheet.png"
FALLBACK_FPS, MAX_FPS = 30.0, 60.0
MAX_SHORT_SIDE = 1024  # of the canvas that pose maps are drawn on: a photograph has more pixels than any model needs
PANEL, MOMENTS = 384, 3


@dataclass(frozen=True)
class Motion:
    """A motion on the reference's canvas, or in a scene on the video's: `frames` at `fps`, and the sound that belongs
    to it.

    people: keypoints of the reference, in a scene of each. everyone: in a scene, who is in the video. sound: file with
    the sound, from `start` to `end` seconds: the video, or the music that the motion was fitted to. findings: see
    `pose.look_ahead`.
    """

    frames: list[PoseFrame]
    people: list[PoseFrame]
    everyone: list[PoseFrame]
    fps: float
    sound: Path
    start: float
    end: float
    findings: list[str]

    def cast(self) -> Cast:
        """Return who dances in a scene."""
        return Cast(self.frames, self.people, self.everyone)


def add_video_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that --video takes besides those of `animate`."""
    group = parser.add_argument_group("driving video, with --video")
    add_extraction_arguments(group, smooth="savitzky-golay")
    group.add_argument(
        "--start", type=nonnegative_float, default=0.0, metavar="SECONDS", help="begin there (default: 0)"
    )
    group.add_argument("--end", type=nonnegative_float, metavar="SECONDS", help="stop there (default: the video's end)")
    add_scene_arguments(group)
    group.add_argument("--no-audio", action="store_true", help="leave out the video's sound")
    group.add_argument(
        "--work", type=file_path, metavar="DIR",
        help="where keypoints, report and a sheet to check are kept for a resumed run (default: OUT.work)",
    )  # fmt: skip


def check_video_options(options: argparse.Namespace) -> None:
    """Raise InputError for options of a driving video without --video, and for times that give no frame."""
    check_scene_options(options)
    if options.video is None:
        used = {"--start": options.start, "--end": options.end, "--no-audio": options.no_audio, "--work": options.work}
        if given := [name for name, value in used.items() if value]:
            raise InputError(f"{' and '.join(given)} need a driving video: give --video in place of --poses.")
    elif options.work is not None and options.work.resolve() == options.out.resolve():
        raise InputError(f"--work and --out are both {options.out}: give them different names.")
    elif options.end is not None and options.end <= options.start:
        raise InputError(f"--end is {options.end:g} and --start is {options.start:g}: give an end after the start.")


def work_folder(options: argparse.Namespace) -> Path:
    """Return the folder that holds what a resumed run takes up."""
    return options.work or options.out.with_name(f"{options.out.name}.work")


def extract_motion(options: argparse.Namespace, references: Sequence[Image.Image]) -> Motion:
    """Extract the motion of a driving video and retarget it to the person of the first reference.

    In a scene (see `scene.is_scene`) the people keep their places; with `--person all` each reference gets one of them.

    An earlier run's keypoints are taken if they were made with the same video, reference and options. Writes the
    keypoints, a report and a sheet (reference, driving frame, both with skeleton, retargeted map) to the work folder.
    Raises InputError if the video or the reference shows nobody.
    """
    from ..media.read import read_frames
    from ..pose.keypoint_files import save_keypoints

    video, folder = existing_file(options.video), work_folder(options)
    frames = read_frames(video)
    fps = options.fps or min(frames.fps or FALLBACK_FPS, MAX_FPS)
    settings = _settings(options, video, references, fps)
    if kept := _kept(folder, settings):
        fitted, people, everyone, findings = kept
        print(f"keypoints of an earlier run in {folder}")
        return Motion(fitted, people, everyone, fps, *_sound(options, len(fitted) / fps), findings)
    if options.resume:
        _check_settings(folder, settings)
    for file in (KEYPOINTS, PERSON, EVERYONE, SHEET, REPORT):
        check_target(folder / file)
    fitted, people, everyone, report, sheet = _extract(options, video, references, fps)
    save_keypoints(folder / KEYPOINTS, fitted)
    save_keypoints(folder / PERSON, people)
    if everyone:
        save_keypoints(folder / EVERYONE, everyone)
    from ..media import write_picture

    write_picture(folder / SHEET, sheet)
    made = {"settings": settings, "keypoints": keypoint_digest([*fitted, *people, *everyone])}
    write_text(folder / REPORT, json.dumps(made | report, indent=2) + "\n")
    return Motion(fitted, people, everyone, fps, *_sound(options, len(fitted) / fps), report["findings"])


def _check_settings(folder: Path, settings: dict) -> None:
    """Raise InputError if a run that is resumed had other settings, whose frames would be mixed with these."""
    from ..schema import differences

    try:
        before = read_json(folder / REPORT, "a report of animate")["settings"]
    except (InputError, KeyError, TypeError):
        return
    if changed := [name for name, old, _ in differences(before, settings)]:
        names = ", ".join(dict.fromkeys(name.strip(".").partition("[")[0] for name in changed))
        raise InputError(f"{folder} was begun with other settings ({names}): repeat them or give --out another name.")


def _kept(folder: Path, settings: dict) -> tuple[list[PoseFrame], list[PoseFrame], list[PoseFrame], list[str]] | None:
    """Return an earlier run's retargeted keypoints, those of its references and of everyone, and its findings.

    None if there are none, if they were made with other settings, or if a file is damaged or not the one it wrote.
    """
    from ..pose.keypoint_files import load_keypoints

    try:
        report = read_json(folder / REPORT, "a report of animate")
        if not isinstance(report, dict) or report.get("settings") != settings:
            return None
        fitted, people = (load_keypoints(folder / file) for file in (KEYPOINTS, PERSON))
        everyone = load_keypoints(folder / EVERYONE) if settings.get("scene") else []
    except InputError:
        return None
    findings = report.get("findings")
    if not isinstance(findings, list) or not all(isinstance(finding, str) for finding in findings):
        return None
    same = report.get("keypoints") == keypoint_digest([*fitted, *people, *everyone])
    return (fitted, people, everyone, findings) if same else None


def write_with_audio(run, motion: Motion, options: argparse.Namespace, to_folder: bool) -> None:
    """Sample into the work folder, from where a killed run continues, and write the result with the video's sound.

    run: has `fill_folder`, `total` and `fps`. Other formats than videos have no sound; a folder gets it as a file.
    """
    from ..media import read_frames, write_animation
    from ..media.audio import AUDIO_SUFFIX, add_audio, extract_audio
    from ..media.write import VIDEO_FORMATS

    frames, out = options.out if to_folder else work_folder(options) / "frames", options.out
    if frames.is_symlink() and not to_folder:
        raise InputError(f"{frames} is a link: remove it, or give --work another name.")
    run.fill_folder(frames)
    end = motion.start + run.total / motion.fps
    if to_folder:
        if not options.no_audio:
            extract_audio(out / f"audio{AUDIO_SUFFIX}", motion.sound, motion.start, end)
        return
    has_sound = out.suffix.lower() in VIDEO_FORMATS and not options.no_audio
    silent = work_folder(options) / "silent.mp4" if has_sound else out
    with write_animation(silent, motion.fps) as add:
        for picture in read_frames(frames):
            add(picture)
    if has_sound:
        add_audio(out, silent, motion.sound, motion.start)
        silent.unlink()
    elif not options.no_audio:
        print(f"{out.suffix} files have no sound: use .mp4, .mov or .mkv for it")
    shutil.rmtree(frames)


def _sound(options: argparse.Namespace, seconds: float) -> tuple[Path, float, float]:
    """Return the file with the sound of the result, and the seconds that it begins and ends at."""
    for music in (options.match_beat, options.mouth_audio):
        if music not in (None, OWN_SOUND):
            return music, 0.0, seconds
    return options.video, options.start, options.start + seconds


def _settings(options: argparse.Namespace, video: Path, references: Sequence[Image.Image], fps: float) -> dict:
    stat = video.stat()
    pixels = b"".join(picture.tobytes() for picture in _read(options, references))
    names = ("detector", "person", "max_gap", "smooth", "start", "end")
    return {name: getattr(options, name) for name in names} | {
        "video": [str(video.resolve()), stat.st_size, stat.st_mtime_ns],
        "reference": hashlib.sha256(pixels).hexdigest()[:16],
        "fps": fps,
        **({"scene": True} if is_scene(options) else {}),
        **edits(options),
    }


def _read(options: argparse.Namespace, references: Sequence[Image.Image]) -> Sequence[Image.Image]:
    """Return the references whose people are searched for: the first, or everybody's."""
    return references if options.person == "all" else references[:1]


def _extract(
    options: argparse.Namespace, video: Path, references: Sequence[Image.Image], fps: float
) -> tuple[list[PoseFrame], list[PoseFrame], list[PoseFrame], dict, Image.Image]:
    import numpy as np

    from ..media import write_picture
    from ..media.resampling import ResampledFrames
    from ..pose.extraction import detect, follow
    from ..pose.keypoints import people_apart
    from ..pose.look_ahead import look_ahead
    from ..pose.retarget import first_frame_with_people, retarget
    from ..pose.smooth import smooth

    detector, choice = load_detector(options)
    print(f"detector {choice.name}: {choice.reason}")
    references = _read(options, references)
    people = [first_frame_with_people(detect([np.asarray(picture)], detector)) for picture in references]
    pictures = ResampledFrames(video, fps)
    found = _people(options, pictures, detector, _shared_file(options, video, fps, choice.name))
    extraction = follow(found, options.person, options.max_gap)
    driving = extraction.frames
    if options.smooth != "none":
        driving = smooth(driving, options.smooth, fps=fps)
    people = [_at_most(person, MAX_SHORT_SIDE) for person in people]
    everyone: list[PoseFrame] = []
    notes: list[str] = []
    if is_scene(options):
        everyone = [_at_most(frame, MAX_SHORT_SIDE) for frame in follow(found, "all", options.max_gap).frames]
        driving = [_at_most(frame, MAX_SHORT_SIDE) for frame in driving]
        chosen, notes = assign(driving, len(people))
        fitted = cast_people(driving, chosen, people)
    else:
        fitted = retarget(driving, people[0])
    edited = edit(fitted, fps, options, people[0], video, options.start)
    fitted = edited.frames
    if edited.plot:
        write_picture(work_folder(options) / BEAT_PLOT, edited.plot)
    proportions: dict
    if not everyone:
        ahead = look_ahead(people[0], extraction.frames, fitted, fps, " with --start and --end")
        findings, proportions = ahead.findings, ahead.proportions
    else:
        apart, done, proportions = people_apart(driving), people_apart(fitted), {}
        findings = [*notes]
        for number, (person, source) in enumerate(zip(people, chosen)):
            ahead = look_ahead(person, apart[source], done[number], fps, " with --start and --end")
            proportions[f"person_{number}"] = ahead.proportions
            findings += [f"Person {number}: {sentence}" for sentence in ahead.findings]
    report = {"detector": choice.name, "detector_reason": choice.reason} | extraction.report
    report |= {"proportions": proportions, "findings": findings, **edited.report}
    sheet = _sheet(references, people, _part(pictures, options), driving, fitted)
    return fitted, people, everyone, report, sheet


def _at_most(frame: PoseFrame, side: int) -> PoseFrame:
    """Return a frame on a canvas whose short side has at most `side` pixels."""
    scale = min(1.0, side / min(frame.width, frame.height))
    return frame.scaled(round(frame.width * scale), round(frame.height * scale))


def _people(
    options: argparse.Namespace, pictures: ResampledFrames, detector: Detector, shared: Path | None
) -> list[PoseFrame]:
    """Return the people of each picture, from the file that jobs share if one has written it."""
    from filelock import FileLock
    from tqdm import tqdm

    from ..media.read import read_frames
    from ..pose.extraction import detect
    from ..pose.keypoint_files import load_keypoints, save_keypoints

    def found() -> list[PoseFrame]:
        source = read_frames(pictures.path)
        seconds = source.count / source.fps if source.count and source.fps else None
        end = min(filter(None, (seconds, options.end)), default=None)
        total = end and max(0, round((end - options.start) * pictures.fps))
        with tqdm(total=total, desc="detecting", unit="frame") as bar:
            return detect(_part(pictures, options), detector, lambda done: bar.update(done - bar.n))

    if shared is None:
        return found()
    shared.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(shared.with_suffix(".lock")):  # a process that needs the same people waits for them
        try:
            return load_keypoints(shared)
        except InputError:  # nobody has written it yet, or it is damaged
            save_keypoints(shared, found())
        return load_keypoints(shared)


def _shared_file(options: argparse.Namespace, video: Path, fps: float, detector: str) -> Path | None:
    """Return the file that shares the people of a video among jobs; None for a single run."""
    if options.detections is None:
        return None
    stat = video.stat()
    key = [str(video.resolve()), stat.st_size, stat.st_mtime_ns, fps, detector, options.start, options.end]
    return options.detections / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.npz"


def video_frames(options: argparse.Namespace, fps: float) -> Iterator[np.ndarray | None]:
    """Yield the frames of the driving video that the motion is of; None where it is damaged."""
    from ..media.resampling import ResampledFrames

    return _part(ResampledFrames(options.video, fps), options)


def _part(pictures, options: argparse.Namespace) -> Iterator[np.ndarray | None]:
    """Yield the pictures between --start and --end."""
    first = round(options.start * pictures.fps)
    last = None if options.end is None else round(options.end * pictures.fps)
    yielded = False
    for picture in islice(pictures, first, last):
        yielded = True
        yield picture
    if not yielded:
        raise InputError(f"--start is {options.start:g} s and the video ends before: give an earlier time.")


def _sheet(
    references: Sequence[Image.Image], people: Sequence[PoseFrame], pictures, driving: Sequence, fitted: Sequence
) -> Image.Image:
    """Return rows of some moments: references and driving frame with their skeletons, and the map that is sampled."""
    import numpy as np
    from PIL import Image

    from ..media import contact_sheet
    from ..pose.draw import draw_pose, overlay

    moments = sorted({len(driving) * (2 * k + 1) // (2 * MOMENTS) for k in range(MOMENTS)})
    shown = [Image.fromarray(overlay(np.asarray(picture), person)) for picture, person in zip(references, people)]
    size, rows = (shown[0].size if len(shown) == 1 else (fitted[0].width, fitted[0].height)), []
    for number, picture in enumerate(pictures):
        if number in moments and picture is not None:
            frame = Image.fromarray(overlay(picture, driving[number]))
            frame.thumbnail((2 * PANEL, 2 * PANEL))
            pose = _on_canvas(Image.fromarray(draw_pose(fitted[number])), size)
            rows.append([*(_on_canvas(picture, size) for picture in shown), _on_canvas(frame, size), pose])
    names = ["reference"] if len(shown) == 1 else [f"reference {number}" for number in range(len(shown))]
    return contact_sheet(rows or [shown], [*names, "driving frame", "retargeted pose"], PANEL)


def _on_canvas(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a picture centred on a dark canvas of another shape."""
    from PIL import Image, ImageOps

    canvas, fitted = Image.new("RGB", size, (24, 24, 24)), ImageOps.contain(picture, size)
    canvas.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return canvas
