"""From videos to a data set: frames, poses, the published filters, a record of each video, an index of all."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write, check_target, existing, files_with_suffix, read_json
from ..media import read_frames
from ..media.read import PICTURE_SUFFIXES
from ..media.resampling import DATASET_FPS, ResampledFrames
from ..pose.detectors.detector import Detector
from ..pose.keypoint_files import holds_keypoints, load_keypoints
from ..pose.keypoints import PoseFrame
from .layouts import INDEX, read_caption, split_by_name
from .unfinished_video import RECORD, UnfinishedVideo, read_record

VIDEO_SUFFIXES = (".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".webp", ".wmv")
REPORT = "report.json"
DAMAGED, NOBODY, SEVERAL, FEW, SMALL, SIZE = (
    "damaged", "nobody", "several people", "few keypoints", "too small", "another size",
)  # fmt: skip


@dataclass(frozen=True)
class Filters:
    """The published ones: a frame stays if it shows one person with more than `keypoints` of 18 body points in a box of
    more than `area` of the picture; a video stays if `frames` frames do."""

    keypoints: int = 6
    area: float = 0.04
    frames: int = 2


@dataclass(frozen=True)
class Output:
    """fps: of the frames. short_side: to which larger pictures are shrunk; None for none. png: lossless, else JPEG at
    quality 95."""

    fps: float = DATASET_FPS
    short_side: int | None = None
    png: bool = False

    @property
    def suffix(self) -> str:
        return "png" if self.png else "jpg"


def find_videos(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Name -> path of every video: files, folders of pictures, and folders that hold such; in an order of their own.

    Raises InputError where a path holds none, or two have one name.
    """
    found: dict[str, Path] = {}
    for path in map(existing, paths):
        if path.is_file() or files_with_suffix(path, PICTURE_SUFFIXES):
            inside = [path]
        else:
            folders = [p for p in path.iterdir() if p.is_dir() and files_with_suffix(p, PICTURE_SUFFIXES)]
            inside = [*files_with_suffix(path, VIDEO_SUFFIXES), *folders]
        if not inside:
            raise InputError(f"{path} holds no videos: give video files, or a folder of them.")
        for video in inside:
            name = video.name if video.is_dir() else video.stem
            if name in found:
                raise InputError(f"{video} and {found[name]} have one name: rename one, poses and splits go by it.")
            found[name] = video
    return dict(sorted(found.items()))


def find_poses(folder: str | Path, videos: Iterable[str]) -> dict[str, Path]:
    """Name of each video -> its given poses: NAME.npz, NAME.json, a folder or a video NAME of keypoints or pose maps.

    Raises InputError that lists the videos without any.
    """
    folder = existing(folder)
    by_name = {(p.name if p.is_dir() else p.stem): p for p in folder.iterdir() if not p.name.startswith(".")}
    missing = [name for name in videos if name not in by_name]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(f"{folder} has no poses for {len(missing)} of the videos ({shown}): name them as the videos.")
    return {name: by_name[name] for name in videos}


def why_dropped(found: PoseFrame, filters: Filters) -> str | None:
    """What the published filters have against a frame; None where it stays."""
    if len(found.people) != 1:
        return SEVERAL if found.people else NOBODY
    points = found.people[0].body
    points = points[points[:, 2] > 0, :2]
    if len(points) <= filters.keypoints:
        return FEW
    width, height = points.max(0) - points.min(0)
    return SMALL if width * height <= filters.area * found.width * found.height else None


def prepare_video(
    name: str,
    path: Path,
    out: Path,
    detector: Detector | None,
    poses: Path | None,
    filters: Filters,
    output: Output,
    progress: Callable[[int], None] = lambda done: None,
) -> dict:
    """Write the frames of one video that stay, with their keypoints or pose maps, as `out/videos/NAME`; its record.

    Frames are read one at a time and once. A video that was prepared before is left as it is; one that cannot be read
    gets a record that says so. After a kill, frames that were done before are decoded once more and nothing else: their
    pictures and poses are there. progress gets the number of frames looked at.
    Raises InputError where the video was prepared with other settings.
    """
    target, settings = out / "videos" / name, asdict(output) | asdict(filters)
    if (target / RECORD).is_file():
        return _finished(target / RECORD, settings, read_caption(path))
    check_target(target, replaces=RECORD)
    record: dict[str, Any] = {"name": name, "source": str(path), "settings": settings}
    how = record | {"changed": path.stat().st_mtime_ns, "poses": str(poses), "detector": type(detector).__name__}
    record["caption"] = read_caption(path)
    try:
        work = UnfinishedVideo(target.with_name(f".{name}.unfinished"), how, output.suffix, output.short_side)
        try:
            for number, (picture, pose) in enumerate(
                _poses(ResampledFrames(path, output.fps), detector, poses, work.poses)
            ):
                if number >= work.total:
                    work.add(picture, pose, _reason(picture, pose, work.size, filters))
                progress(number + 1)
        except InputError as error:
            record["error"] = str(error)
        if len(work.numbers) < filters.frames:
            record.setdefault("error", f"{len(work.numbers)} frames stayed, at least {filters.frames} are needed")
        work.finish(record, target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Cannot write {target}: {reason}; make room and start again, it goes on there.") from error
    return record


def _finished(file: Path, settings: dict[str, Any], caption: str) -> dict:
    """The record of a finished video, with the caption of today; InputError where it was made with other settings."""
    record = read_record(file)
    for key, old in record["settings"].items():
        if settings.get(key, old) != old:
            raise InputError(f"{file.parent} was made with {key} {old} and not {settings[key]}: give another --out.")
    if record.get("caption", "") != caption:
        record["caption"] = caption
        with atomic_write(file) as part:
            part.write_text(json.dumps(record), encoding="utf-8")
    return record


def _reason(
    picture: np.ndarray | None, pose: PoseFrame | np.ndarray | None, size: tuple[int, int] | None, filters: Filters
) -> str | None:
    """Why a frame is dropped; None where it stays. size: height and width of the frames before."""
    if picture is None:
        return DAMAGED
    if size not in (None, picture.shape[:2]):
        return SIZE
    return why_dropped(pose, filters) if isinstance(pose, PoseFrame) else None


def write_index(out: Path, names: Iterable[str], output: Output, validation: float, test: float) -> dict | None:
    """Write index.json and report.json once all videos have their records; the report, or None while some are missing.

    Videos of an earlier index keep their part.
    """
    records, before = [], {}
    if (out / INDEX).is_file():
        index = read_json(out / INDEX, "a data set")
        try:
            before = {video["name"]: video["split"] for video in index["videos"]}
        except (KeyError, TypeError) as error:
            raise InputError(f"{out / INDEX} is another's or damaged: give another --out, or remove it.") from error
    for name in sorted({*names, *before}):
        file = out / "videos" / name / RECORD
        if not file.is_file():
            return None
        records.append(read_record(file))
    kept = [record for record in records if "error" not in record]
    if not kept:
        raise InputError(f"No video stayed: {records[0]['name']}: {records[0]['error']}. See {out / 'videos'}.")
    splits = split_by_name([record["name"] for record in kept], validation, test, before)
    keys = ("name", "width", "height", "frames", "maps", "caption")
    videos = [{k: record[k] for k in keys if k in record} | {"split": splits[record["name"]]} for record in kept]
    index = {"format": "magicdance videos", "version": 1, "fps": output.fps, "suffix": output.suffix, "videos": videos}
    reasons = sum((Counter(record["dropped"]) for record in records), Counter())
    report = {
        "videos": len(records),
        "videos_kept": len(kept),
        "frames": sum(record["total"] for record in records),
        "frames_kept": sum(len(record["frames"]) for record in kept),
        "dropped": dict(reasons.most_common()),
        "split": dict(Counter(video["split"] for video in videos)),
        "unusable": {record["name"]: record["error"] for record in records if "error" in record},
        "each": {r["name"]: {"kept": len(r["frames"]), "of": r["total"], "dropped": r["dropped"]} for r in records},
    }
    for name, value in ((REPORT, report), (INDEX, index)):
        with atomic_write(out / name) as part:
            part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return report


def _poses(
    pictures: ResampledFrames, detector: Detector | None, poses: Path | None, done: Sequence[PoseFrame | None]
) -> Iterator[tuple]:
    """Pictures with their keypoints or pose maps. done: keypoints of the first ones, where they were found before."""
    if poses is None:
        before, pose = None, None
        for number, picture in enumerate(pictures):
            if number < len(done):
                pose = done[number] or pose
            elif picture is not None and picture is not before:
                height, width = picture.shape[:2]
                pose = PoseFrame(detector.detect(picture), width, height)
            before = picture
            yield picture, pose
        return
    first = next((p for p in pictures if p is not None), None)
    if first is None:
        raise InputError(f"{pictures.path} holds no frame that can be read")
    if holds_keypoints(poses):
        given: Iterable = load_keypoints(poses, first.shape[1], first.shape[0])
    else:
        given = map(np.asarray, read_frames(poses))
    given = iter(given)
    for number, picture in enumerate(pictures):
        pose = next(given, None)
        if pose is None:
            raise InputError(f"{poses} has poses for {number} frames only, and {pictures.path} has more")
        yield picture, pose
