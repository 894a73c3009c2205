"""From videos to a data set: frames, poses, the published filters, a record of each video, an index of all."""

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...errors import InputError
from ...files import existing, files_with_suffix, whole_file, whole_folder
from ...media import read_frames
from ...media.frames import PICTURE_SUFFIXES
from ...media.pictures import DATA_SET_FPS, Pictures
from ...pose.detectors.base import Detector
from ...pose.files import holds_keypoints, load_keypoints, save_keypoints
from ...pose.keypoints import PoseFrame
from .layouts import INDEX, KEYPOINTS, split_by_name

VIDEO_SUFFIXES = (".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".webp", ".wmv")
RECORD, REPORT = "record.json", "report.json"
DAMAGED, NOBODY, SEVERAL, FEW, SMALL, SIZE = (
    "damaged", "nobody", "several people", "few keypoints", "too small", "another size",
)  # fmt: skip
EXAMPLES = 3
"""Dropped frames of a video that are kept for the contact sheet."""


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

    fps: float = DATA_SET_FPS
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
    gets a record that says so. progress gets the number of frames looked at.
    """
    target = out / "videos" / name
    if (target / RECORD).is_file():
        return json.loads((target / RECORD).read_text(encoding="utf-8"))
    dropped: Counter[str] = Counter()
    numbers: list[int] = []
    keypoints: list[PoseFrame] = []
    size, shown, total = None, {}, 0
    record: dict[str, Any] = {
        "name": name,
        "source": str(path),
        "settings": asdict(output) | asdict(filters),
        "maps": False,
    }
    with whole_folder(target, replaces=RECORD) as folder:
        try:
            pictures = Pictures(path, output.fps)
            found = _poses(pictures, detector, poses)
            for number, (picture, pose) in enumerate(found):
                total = number + 1
                progress(total)
                reason = DAMAGED if picture is None else None
                if reason is None and size not in (None, picture.shape[:2]):
                    reason = SIZE
                if reason is None and isinstance(pose, PoseFrame):
                    reason = why_dropped(pose, filters)
                if reason is not None:
                    dropped[reason] += 1
                    if picture is not None and len(shown) < EXAMPLES and reason not in shown:
                        shown[reason] = number
                        _save(folder / f"dropped-{number:06d}.jpg", _shrunk(picture, 256), False)
                    continue
                size = picture.shape[:2]
                _save(folder / f"{number:06d}.{output.suffix}", _shrunk(picture, output.short_side), output.png)
                if isinstance(pose, PoseFrame):
                    keypoints.append(pose)
                else:
                    record["maps"] = True
                    (folder / "poses").mkdir(exist_ok=True)
                    _save(folder / "poses" / f"{number:06d}.png", _shrunk(pose, output.short_side), True)
                numbers.append(number)
        except InputError as error:
            record["error"] = str(error)
        if len(numbers) < filters.frames:
            record.setdefault("error", f"{len(numbers)} frames stayed, at least {filters.frames} are needed")
        if numbers:
            with Image.open(folder / f"{numbers[0]:06d}.{output.suffix}") as first:
                record |= {"width": first.width, "height": first.height}
        if keypoints:
            save_keypoints(folder / KEYPOINTS, [pose.scaled(record["width"], record["height"]) for pose in keypoints])
        record |= {"total": total, "frames": numbers, "dropped": dict(dropped), "examples": shown}
        (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return record


def write_index(out: Path, names: Iterable[str], output: Output, validation: float, test: float) -> dict | None:
    """Write index.json and report.json once all videos have their records; the report, or None while some are missing.

    Videos of an earlier index keep their part.
    """
    records, before = [], {}
    if (out / INDEX).is_file():
        before = {v["name"]: v["split"] for v in json.loads((out / INDEX).read_text(encoding="utf-8"))["videos"]}
    for name in sorted({*names, *before}):
        file = out / "videos" / name / RECORD
        if not file.is_file():
            return None
        records.append(json.loads(file.read_text(encoding="utf-8")))
    kept = [record for record in records if "error" not in record]
    if not kept:
        raise InputError(f"No video stayed: {records[0]['name']}: {records[0]['error']}. See {out / 'videos'}.")
    splits = split_by_name([record["name"] for record in kept], validation, test, before)
    keys = ("name", "width", "height", "frames", "maps")
    videos = [{key: record[key] for key in keys} | {"split": splits[record["name"]]} for record in kept]
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
        with whole_file(out / name) as part:
            part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return report


def _poses(pictures: Pictures, detector: Detector | None, poses: Path | None) -> Iterator[tuple]:
    """Pictures with their keypoints or pose maps."""
    if poses is None:
        before, pose = None, None
        for picture in pictures:
            if picture is not None and picture is not before:
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
    for number, (picture, pose) in enumerate(itertools.zip_longest(pictures, given)):
        if pose is None:
            raise InputError(f"{poses} has poses for {number} frames only, and {pictures.path} has more")
        if picture is not None or number == 0:
            yield picture, pose


def _shrunk(picture: np.ndarray, short_side: int | None) -> Image.Image:
    image = Image.fromarray(picture)
    if short_side is None or min(image.size) <= short_side:
        return image
    scale = short_side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _save(path: Path, image: Image.Image, png: bool) -> None:
    image.save(path, **({"format": "PNG"} if png else {"format": "JPEG", "quality": 95}))
