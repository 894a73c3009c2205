"""Prepares a data set from videos: frames, poses, the published filters, a record of each video and an index."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import printable
from ..choices import FOREIGN_THRESHOLD
from ..errors import InputError
from ..files import check_folder, check_target, content_digest, existing, files_with_suffix, resolve_inside, write_text
from ..media.read import PICTURE_SUFFIXES, VIDEO_SUFFIXES, is_timed
from ..media.resampling import DATASET_FPS, ResampledFrames
from ..pose.detectors.detector import Detector
from ..pose.keypoints import PoseFrame
from .given_poses import paired_poses
from .index_files import VideoIndex, read_index, safe_name
from .layouts import INDEX, read_caption, split_by_name
from .unfinished_video import RECORD, UnfinishedVideo, read_record

ANIMATION_SUFFIXES = (".apng", ".gif", ".webp")
REPORT = "report.json"
DAMAGED, NOBODY, SEVERAL, FEW, SMALL, SIZE = (
    "damaged", "nobody", "several people", "few keypoints", "too small", "another size",
)  # fmt: skip


@dataclass(frozen=True)
class Filters:
    """The published filters.

    A frame is kept if it shows one person with more than `keypoints` of 18 body points, whose box is more than `area`
    of the picture; a video is kept if at least `frames` frames are.
    """

    keypoints: int = 6
    area: float = 0.04
    frames: int = 2


@dataclass(frozen=True)
class Output:
    """Format of the frames.

    fps: frames per second. short_side: larger pictures are scaled down to it; None keeps their size. png: lossless PNG
    instead of JPEG at quality 95.
    """

    fps: float = DATASET_FPS
    short_side: int | None = None
    png: bool = False

    @property
    def suffix(self) -> str:
        return "png" if self.png else "jpg"


def known_splits(out: Path) -> dict[str, str]:
    """Return name -> split of the videos in an earlier index, empty if there is none.

    Raises InputError if `out` holds another index, or something that leads out of it.
    """
    if out.is_dir():
        check_folder(out)
    if not (out / INDEX).is_file():
        return {}
    index = read_index(VideoIndex, out / INDEX, "remove it, or give another --out")
    return {video.name: video.split for video in index.videos}


def find_videos(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Return name -> path of every video, sorted by name.

    paths: video files, folders of pictures, or folders of these. Names are made safe by `safe_name`.
    Raises InputError if a path holds no video, something in it leads out of it, or two videos have the same name.
    """
    found: dict[str, Path] = {}
    for path in map(existing, paths):
        if not path.is_file():
            check_folder(path)
        inside = [path] if path.is_file() else _films(path)
        if not inside:
            raise InputError(f"{path} holds no videos: give video files, or a folder of them.")
        for video in inside:
            name = safe_name(video.name if video.is_dir() else video.stem)
            if name in found:
                raise InputError(f"{video} and {found[name]} have the same name: rename one, poses are found by it.")
            found[name] = video
    return dict(sorted(found.items()))


def _films(folder: Path) -> list[Path]:
    """Return a folder's videos, animations and folders of pictures, or the folder itself if it has pictures only."""
    stills = tuple(suffix for suffix in PICTURE_SUFFIXES if suffix not in ANIMATION_SUFFIXES)
    animations = [file for file in files_with_suffix(folder, ANIMATION_SUFFIXES) if is_timed(file)]
    videos = files_with_suffix(folder, VIDEO_SUFFIXES)
    if not videos and files_with_suffix(folder, stills if animations else PICTURE_SUFFIXES):
        return [folder]
    folders = [path for path in folder.iterdir() if path.is_dir() and files_with_suffix(path, PICTURE_SUFFIXES)]
    return [*videos, *animations, *folders]


def find_poses(folder: str | Path, videos: Iterable[str]) -> dict[str, Path]:
    """Return name of each video -> its poses: NAME.npz, NAME.json, or a folder or video NAME of keypoints or pose maps.

    Raises InputError that lists the videos without poses.
    """
    folder = existing(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give one with poses named like the videos.")
    check_folder(folder)
    by_name = {safe_name(p.name if p.is_dir() else p.stem): p for p in folder.iterdir() if not p.name.startswith(".")}
    missing = [name for name in videos if name not in by_name]
    if missing:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise InputError(f"{folder} has no poses for {len(missing)} videos ({shown}): name them like the videos.")
    return {name: by_name[name] for name in videos}


def why_dropped(found: PoseFrame, filters: Filters) -> str | None:
    """Return why the filters drop a frame; None if it is kept."""
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
    threshold: float = FOREIGN_THRESHOLD,
) -> dict[str, Any]:
    """Write the frames of a video that pass the filters, with their poses, to `out/videos/NAME`; return its record.

    Each frame is read once. A video that was prepared before is left as it is; the record of one that cannot be read
    says why. After a kill, finished frames are decoded again, but neither written nor searched for poses.
    detector: finds the keypoints if `poses`, keypoints or pose maps, is None. progress: called with the number of
    frames read. threshold: see `load_keypoints`.
    Raises InputError if the video was prepared with other settings or from another file, or cannot be written.
    """
    resolve_inside(out, f"videos/{name}", "a video")
    target, settings, content = out / "videos" / name, asdict(output) | asdict(filters), content_digest(path)
    if (target / RECORD).is_file():
        return _finished(target / RECORD, settings, path, content, _caption(path))
    check_target(target, replaces=RECORD)
    record: dict[str, Any] = {"name": name, "source": printable(str(path)), "content": content, "settings": settings}
    how = record | {
        "threshold": threshold,
        "changed": path.stat().st_mtime_ns,
        "poses": str(poses),
        "detector": type(detector).__name__,
    }
    how["threshold"] = threshold
    record["caption"] = _caption(path)
    try:
        work = UnfinishedVideo(target.with_name(f".{name}.unfinished"), how, output.suffix, output.short_side)
        try:
            for number, (picture, pose) in enumerate(
                _poses(ResampledFrames(path, output.fps), detector, poses, work.poses, threshold)
            ):
                if number >= work.total:
                    work.add(picture, pose, _reason(picture, pose, work.size, filters))
                progress(number + 1)
        except InputError as error:
            record["error"] = str(error)
        if len(work.numbers) < filters.frames:
            record.setdefault("error", f"{len(work.numbers)} frames were kept, at least {filters.frames} are needed")
        work.finish(record, target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Cannot write {target}: {reason}; make room and start again: it resumes there.") from error
    return record


def _caption(video: Path) -> str:
    """Return a video's caption; a warning tells of one that cannot be read, and the others go on."""
    try:
        return read_caption(video)
    except InputError as error:
        logging.warning("%s Its video gets no caption.", error)
        return ""


def _finished(file: Path, settings: dict[str, Any], path: Path, content: str, caption: str) -> dict[str, Any]:
    """Return the record of a finished video, its caption updated.

    Raises InputError if the settings were others, or another video had its name.
    """
    record = read_record(file)
    if record["content"] not in ("", content):
        raise InputError(f"{file.parent} was made from another video: rename {path}, or give another --out.")
    for key, old in record["settings"].items():
        if settings.get(key, old) != old:
            raise InputError(f"{file.parent} was made with {key} {old}, not {settings[key]}: give another --out.")
    if record.get("caption", "") != caption:
        record["caption"] = caption
        write_text(file, json.dumps(record))
    return record


def _reason(
    picture: np.ndarray | None, pose: PoseFrame | np.ndarray | None, size: tuple[int, int] | None, filters: Filters
) -> str | None:
    """Return why a frame is dropped; None if it is kept. size: height and width of earlier frames."""
    if picture is None:
        return DAMAGED
    if size not in (None, picture.shape[:2]):
        return SIZE
    return why_dropped(pose, filters) if isinstance(pose, PoseFrame) else None


def write_index(
    out: Path,
    names: Iterable[str],
    output: Output,
    validation: float,
    test: float,
    tests: Collection[str] | None = None,
) -> dict[str, Any] | None:
    """Write index.json and report.json once all videos have records; return the report, or None until then.

    validation, test: shares of the videos. tests: the names of the test videos of a public data set, in place of a
    share. Videos of an earlier index keep their split.
    Raises InputError if no video was kept, or `out` holds another index.
    """
    records, before = [], known_splits(out)
    for name in sorted({*names, *before}):
        file = out / "videos" / name / RECORD
        if not file.is_file():
            return None
        records.append(read_record(file))
    kept = [record for record in records if "error" not in record]
    if not kept:
        raise InputError(f"No video was kept: {records[0]['name']}: {records[0]['error']}. See {out / 'videos'}.")
    chosen = [record["name"] for record in kept]
    if tests is not None:
        before, test = before | {name: "test" for name in chosen if name in tests}, 0.0
    splits = split_by_name(chosen, validation, test, before)
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
        write_text(out / name, json.dumps(value, indent=1) + "\n")
    return report


def _poses(
    pictures: ResampledFrames,
    detector: Detector | None,
    poses: Path | None,
    done: Sequence[PoseFrame | None],
    threshold: float,
) -> Iterator[tuple]:
    """Yield pictures with their keypoints or pose maps. done: keypoints of the first pictures, of an earlier run."""
    if poses is None:
        before, pose = None, None
        if detector is not None:
            detector.reset()
        for number, picture in enumerate(pictures):
            if number < len(done):
                pose = done[number] or pose
            elif picture is not None and picture is not before:
                assert detector is not None
                height, width = picture.shape[:2]
                pose = PoseFrame(detector.detect(picture), width, height)
            before = picture
            yield picture, pose
        return
    yield from zip(pictures, paired_poses(pictures, poses, threshold))
