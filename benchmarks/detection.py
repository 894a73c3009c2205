"""Accuracy and speed of a pose detector on real clips, against published pose maps of the same frames.

python -m benchmarks.detection CLIPS

CLIPS is a folder with videos NAME.mp4 and the maps NAME_poses.mp4, as drawn by OpenPose, of the same number of frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from magicdance_core.commands.common import file_path, positive_int, write_report
from magicdance_core.commands.extract import add_detector_arguments, load_detector
from magicdance_core.errors import InputError
from magicdance_core.files import existing
from magicdance_core.media import read_frames
from magicdance_core.pose.detectors.detector import Detector
from magicdance_core.pose.detectors.drawn_map import DrawnMapDetector
from magicdance_core.pose.draw import JOINT_RADIUS, PUBLISHED_SHORT_SIDE
from magicdance_core.pose.keypoints import Person, person_to_points

from .command import benchmark_parser, run_benchmark

MAPS = "_poses"  # at the end of the name of a video of maps
# Joints whose colour no other part of a map has; discs of the left knee look like those of hands.
JOINTS = {
    "nose": [0], "neck": [1], "shoulders": [2, 5], "right elbow": [3], "left elbow": [6], "right wrist": [4],
    "left wrist": [7], "hips": [8, 11], "right knee": [9], "right ankle": [10], "left ankle": [13],
}  # fmt: skip
ANKLES = [10, 13]
_NOSE, _NECK, _HIPS, _NECK_TO_HIPS = 0, 1, [8, 11], 0.30  # the last in body heights
_WRISTS = {"left_hand": 7, "right_hand": 4}
_HAND_BLUE, _HAND_TOLERANCE, _HAND_REACH, _HAND_DISCS = (0, 0, 255), 60, 0.15, 4


@dataclass(frozen=True)
class Clip:
    """What was found in a clip: `maps` [F, 18, 3] and `bodies` [F, 18, 3] in pixels of the clip, missing points zeros.

    hands: of each hand that a map shows, the mean distance of our points to it in body heights, nan if not found.
    faces: whether a face was found, of each frame with a nose in the map. height: of the body, pixels.
    seconds, cpu_seconds: for the detection.
    """

    maps: np.ndarray
    bodies: np.ndarray
    hands: np.ndarray
    faces: np.ndarray
    height: float
    seconds: float
    cpu_seconds: float


def measure(pictures: Iterable[np.ndarray], maps: Sequence[np.ndarray], detector: Detector) -> Clip:
    """Detect the people of a clip and compare the largest with the person of its maps, uint8 [H, W, 3] each."""
    detector.reset()
    seconds, people = np.zeros(2), []
    for picture in pictures:
        start = np.array([time.perf_counter(), time.process_time()])
        found = detector.detect(picture)
        seconds += np.array([time.perf_counter(), time.process_time()]) - start
        people.append(max(found, key=_extent, default=Person()))
    drawn = DrawnMapDetector()
    bodies = np.stack([person.body for person in people])
    read = [next(iter(drawn.detect(picture)), Person()).body for picture in maps]
    if len(read) != len(people):
        raise InputError(f"A clip has {len(people)} frames and its maps have {len(read)}: give maps of the same.")
    shown = np.stack(read)
    scale, offset = fit_axes(shown, bodies)
    placed = np.where(shown[..., 2:] > 0, np.concatenate([shown[..., :2] * scale + offset, shown[..., 2:]], 2), 0)
    both = (placed[:, [_NECK, *_HIPS], 2] > 0).all(axis=1)
    trunks = np.linalg.norm(placed[both, _NECK, :2] - placed[both][:, _HIPS, :2].mean(axis=1), axis=1)
    if not len(trunks):
        raise InputError("No map of a clip shows neck and hips: give maps of whole bodies.")
    height = float(np.median(trunks)) / _NECK_TO_HIPS
    hands = []
    for person, picture, body in zip(people, maps, read):
        for part, pixels in drawn_hands(picture, body, _HAND_REACH * height / float(scale.mean())).items():
            hands.append(_distance_to(getattr(person, part), pixels * scale + offset) / height)
    faces = [bool(p.face[:, 2].any()) for p, body in zip(people, read) if body[_NOSE, 2] > 0]
    return Clip(placed, bodies, np.array(hands), np.array(faces), height, *seconds.tolist())


def fit_axes(maps: np.ndarray, bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return factors [2] and offsets [2] that take points of maps [F, 18, 3] to those of bodies [F, 18, 3].

    Published maps are drawn for a slightly smaller canvas. The farthest quarter of the points is left out.
    """
    joints = sorted(joint for group in JOINTS.values() for joint in group if joint not in ANKLES)
    both = (maps[:, joints, 2] > 0) & (bodies[:, joints, 2] > 0)
    a, b = maps[:, joints][both][:, :2].astype(np.float64), bodies[:, joints][both][:, :2].astype(np.float64)
    if len(a) < 8:
        raise InputError("A clip and its maps share fewer than 8 points: give maps of the same frames.")
    kept, factors, offsets = np.full(len(a), True), np.ones(2), np.zeros(2)
    for _ in range(4):
        for axis in (0, 1):
            factors[axis], offsets[axis] = np.polyfit(a[kept, axis], b[kept, axis], 1)
        errors = np.linalg.norm(a * factors + offsets - b, axis=1)
        kept = errors <= np.quantile(errors, 0.75)
    return factors, offsets


def drawn_hands(picture: np.ndarray, body: np.ndarray, reach: float) -> dict[str, np.ndarray]:
    """Return the hands that a map shows, by name in Person: pixels [N, 2] of their blue discs.

    body: [18, 3], the map's. reach: how far from its wrist a hand may be, in pixels.
    """
    radius = JOINT_RADIUS * min(picture.shape[:2]) / PUBLISHED_SHORT_SIDE
    blue = (np.abs(picture.astype(np.int16) - _HAND_BLUE).max(axis=-1) < _HAND_TOLERANCE).astype(np.uint8)
    pixels = np.argwhere(blue)[:, ::-1] + 0.5
    wrists = {part: body[joint, :2] for part, joint in _WRISTS.items() if body[joint, 2] > 0}
    if not len(pixels) or not wrists:
        return {}
    distances = np.stack([np.linalg.norm(pixels - wrist, axis=1) for wrist in wrists.values()])
    nearest = np.where(distances.min(axis=0) < reach, distances.argmin(axis=0), -1)
    found = {part: pixels[nearest == number] for number, part in enumerate(wrists)}
    return {part: own for part, own in found.items() if len(own) >= _HAND_DISCS * np.pi * radius**2}


def summarise(clips: Sequence[Clip]) -> dict[str, dict[str, float]]:
    """Return the figures of clips by joint ("all": without ankles), then "hands", "faces" and "speed".

    median, p90: distances in percent of the body height. shown: percent of the maps' points that were found. extra:
    frames in which a point was found that the map does not have. within_5: percent of points within 5 percent.
    """
    report = {name: _joint_figures(clips, joints) for name, joints in JOINTS.items()}
    steady = [joint for joints in JOINTS.values() for joint in joints if joint not in ANKLES]
    report["all"] = _joint_figures(clips, steady)
    hands, faces = (np.concatenate([getattr(clip, name) for clip in clips]) for name in ("hands", "faces"))
    found = hands[np.isfinite(hands)]
    report["hands"] = {
        "found": 100 * len(found) / max(len(hands), 1),
        "median": 100 * float(np.median(found)) if len(found) else np.nan,
        "p90": 100 * float(np.quantile(found, 0.9)) if len(found) else np.nan,
    }
    report["faces"] = {"found": 100 * float(faces.mean()) if len(faces) else np.nan}
    frames = sum(len(clip.bodies) for clip in clips)
    report["speed"] = {
        "frames": frames,
        "frames a second": frames / sum(clip.seconds for clip in clips),
        "frames a second of the processor": frames / sum(clip.cpu_seconds for clip in clips),
    }
    return report


def _joint_figures(clips: Sequence[Clip], joints: Sequence[int]) -> dict[str, float]:
    distances, in_map, extra = [], 0, 0
    for clip in clips:
        drawn, ours = clip.maps[:, joints], clip.bodies[:, joints]
        both = (drawn[..., 2] > 0) & (ours[..., 2] > 0)
        distances.append(100 * np.linalg.norm(drawn[both, :2] - ours[both, :2], axis=1) / clip.height)
        in_map += int((drawn[..., 2] > 0).sum())
        extra += int(((drawn[..., 2] == 0) & (ours[..., 2] > 0)).sum())
    all_distances = np.concatenate(distances)
    return {
        "median": float(np.median(all_distances)) if len(all_distances) else np.nan,
        "p90": float(np.quantile(all_distances, 0.9)) if len(all_distances) else np.nan,
        "within_5": 100 * float((all_distances <= 5).mean()) if len(all_distances) else np.nan,
        "shown": 100 * len(all_distances) / max(in_map, 1),
        "extra": extra,
    }


def _distance_to(hand: np.ndarray, pixels: np.ndarray) -> float:
    """Return the mean distance of a hand's points to the nearest of some pixels; nan without a hand."""
    points = hand[hand[:, 2] > 0, :2]
    if not len(points):
        return np.nan
    return float(np.linalg.norm(points[:, None] - pixels[None], axis=2).min(axis=1).mean())


def _extent(person: Person) -> float:
    points = person_to_points(person)
    shown = points[points[:, 2] > 0, :2]
    return float(np.prod(np.ptp(shown, axis=0))) if len(shown) else 0.0


def find_clips(folder: str | Path) -> dict[str, tuple[Path, Path]]:
    """Return name -> video and maps of each clip in a folder. Raises InputError if there is none."""
    folder = existing(folder)
    clips = {}
    for maps in sorted(folder.glob(f"*{MAPS}.*")):
        video = maps.with_name(maps.name.replace(f"{MAPS}.", "."))
        if video.is_file():
            clips[video.stem] = (video, maps)
    if not clips:
        raise InputError(f"{folder} has no video NAME.mp4 with its maps NAME{MAPS}.mp4: put them there.")
    return clips


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("detection", __doc__, _run)
    parser.add_argument("clips", type=file_path, metavar="CLIPS", help="a folder of videos and their pose maps")
    add_detector_arguments(parser)
    parser.add_argument(
        "--device", help="for openpose and mediapipe: cpu, cuda, ... (default: a GPU where there is one)"
    )
    parser.add_argument("--frames", type=positive_int, metavar="N", help="of each clip (default: all)")
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    detector, choice = load_detector(options)
    clips, report = {}, {}
    for name, (video, maps) in find_clips(options.clips).items():
        pictures, drawn = ([np.asarray(p) for p in read_frames(path)][: options.frames] for path in (video, maps))
        clips[name] = measure(pictures, drawn, detector)
        report[name] = summarise([clips[name]])
        print(f"{name}: median {report[name]['all']['median']:.2f}, p90 {report[name]['all']['p90']:.1f} %")
    report["together"] = summarise(list(clips.values()))
    print(f"{choice.name}, distances in % of the body height")
    for part, figures in report["together"].items():
        print(f"{part:<12}" + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    write_report({"detector": choice.name, **report}, options.json)


if __name__ == "__main__":
    sys.exit(main())
