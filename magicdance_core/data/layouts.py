"""Reads data sets in three layouts: our own, the published one, and the TikTok data set as prepared by DisCo."""

import codecs
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..checks import printable
from ..errors import InputError
from ..files import check_folder, existing, files_with_suffix, read_bytes, resolve_inside
from ..media import read_picture
from ..media.read import PICTURE_SUFFIXES
from .frame_sets import Video
from .index_files import MAX_CAPTION, VideoIndex, read_index, safe_name
from .video_frames import FrameFiles

INDEX = "index.json"
KEYPOINTS = "keypoints.npz"
PUBLISHED = {"train_set": "train", "val_set": "validation", "test_set": "test"}
MASKS, OPENPOSE = "groundsam", "openpose_json"
VALIDATION, TEST = 0.05, 0.0
"""Shares of the videos that are held out if a layout does not define splits."""


def read_layout(folder: Path) -> list[FrameFiles]:
    """Return the videos of the data set in a folder.

    Ours: index.json. Published: train_set/VIDEO/*.png beside pose_map_train_set/VIDEO/*.png, likewise val_set and
    test_set; frames without a pose map are left out. DisCo: VIDEO/*.png with VIDEO/openpose_json/ (or pose maps in
    VIDEO/openpose/) and, optionally, masks in VIDEO/groundsam/. Captions: VIDEO.txt beside each folder.
    Raises InputError if the layout is unknown, pictures lack poses, or something leads out of the folder.
    """
    folder = existing(folder)
    if folder.is_dir():
        check_folder(folder)
    if (folder / INDEX).is_file():
        return _ours(folder)
    if (folder / "train_set").is_dir():
        files = [
            entry for name, split in PUBLISHED.items() if (folder / name).is_dir()
            for entry in _published(folder / name, folder / f"pose_map_{name}", split)
        ]  # fmt: skip
    else:
        files = [entry for video in _folders(folder) if (entry := _disco(video))]
        splits = split_by_name([entry.video.name for entry in files], VALIDATION, TEST)
        files = [_with_split(entry, splits[entry.video.name]) for entry in files]
    if not files:
        raise InputError(
            f"{folder} is not a data set: make one with `magicdance dataset`, or give a folder like TikTok's."
        )
    return files


def split_by_name(
    names: Iterable[str], validation: float, test: float, known: dict[str, str] | None = None
) -> dict[str, str]:
    """Return name -> "train", "validation" or "test", chosen by the names' hashes.

    validation, test: shares of the names; of three or more names at least one goes to a split whose share is not 0.
    known: splits of an earlier call, which stay.
    """
    splits, new = dict(known or {}), []
    for name in names:
        if name not in splits:
            new.append(name)
    new.sort(key=lambda name: hashlib.blake2b(name.encode("utf-8", "surrogatepass")).digest())
    total = len(splits) + len(new)
    for part, share in (("validation", validation), ("test", test)):
        wanted = round(share * total) or (1 if share and total >= 3 else 0)
        wanted -= sum(split == part for split in splits.values())
        for _ in range(min(wanted, len(new) - 1)):
            splits[new.pop()] = part
    return splits | dict.fromkeys(new, "train")


def read_caption(video: Path) -> str:
    """Return the text of NAME.txt beside a video, "" if there is none.

    It is in UTF-8, UTF-16, or Windows' Western alphabet (cp1252). Raises InputError if it is in none of these, longer
    than MAX_CAPTION, or a link out of the folder.
    """
    file = video.with_name(f"{video.name if video.is_dir() else video.stem}.txt")
    if not file.is_file():
        return ""
    resolve_inside(file.parent, file.name, "a caption")
    try:
        caption = " ".join(_decode(read_bytes(file, 4 * MAX_CAPTION)).split())
    except UnicodeDecodeError as error:
        raise InputError(f"{file} cannot be read as text ({error}): save it as UTF-8, or remove it.") from error
    if len(caption) > MAX_CAPTION:
        raise InputError(f"{file} has {len(caption)} characters: give a caption of at most {MAX_CAPTION:,}.")
    return printable(caption)


def _decode(data: bytes) -> str:
    """Return the text of a file in one of the encodings of `read_caption`. Raises UnicodeDecodeError."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    if b"\0" in data:  # UTF-16 without its mark: the high bytes of Western letters are 0
        return data.decode("utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def runs_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the stretches of consecutive numbers in an ascending list, as (index of the first, length)."""
    runs: list[tuple[int, int]] = []
    before = None
    for index, number in enumerate(numbers):
        if before is not None and number == before + 1:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((index, 1))
        before = number
    return tuple(runs)


def _ours(folder: Path) -> list[FrameFiles]:
    index, entries = read_index(VideoIndex, folder / INDEX, "run `magicdance dataset` again"), []
    for video in index.videos:
        path, numbers = resolve_inside(folder, f"videos/{video.name}", "a video"), video.frames
        about = Video(
            video.name, len(numbers), video.width, video.height, video.split, runs_of(numbers), printable(video.caption)
        )
        pictures = tuple(path / f"{number:06d}.{index.suffix}" for number in numbers)
        maps = tuple(path / "poses" / f"{number:06d}.png" for number in numbers) if video.maps else ()
        keypoints = () if video.maps else (path / KEYPOINTS,)
        entries.append(FrameFiles(about, pictures, maps, keypoints))
    for entry in entries:
        for path in (entry.pictures[0], entry.pictures[-1], *entry.keypoints, *entry.maps[:1]):
            if not path.is_file():
                raise InputError(f"{path} is missing: copy the whole data set, or run `magicdance dataset` again.")
    return entries


def _published(frames: Path, maps: Path, split: str) -> list[FrameFiles]:
    entries = []
    for video in _folders(frames):
        by_stem = {path.stem: path for path in files_with_suffix(maps / video.name, PICTURE_SUFFIXES)}
        pairs = [(p, by_stem[p.stem]) for p in files_with_suffix(video, PICTURE_SUFFIXES) if p.stem in by_stem]
        if not pairs:
            raise InputError(f"{maps / video.name} has no pose map with the name of a picture in {video}: rename them.")
        pictures, found = zip(*pairs)
        entries.append(
            FrameFiles(_video(f"{frames.name}/{safe_name(video.name)}", pictures, split), pictures, maps=found)
        )
    return entries


def _disco(folder: Path) -> FrameFiles | None:
    pictures = files_with_suffix(folder, PICTURE_SUFFIXES)
    poses = _by_stem(folder / OPENPOSE, (".json",))
    maps = {} if poses else _by_stem(folder / "openpose", PICTURE_SUFFIXES)
    masks = _by_stem(folder / MASKS, PICTURE_SUFFIXES)
    if not pictures or not (poses or maps):
        return None
    complete = [p for p in pictures if p.stem in (poses or maps) and (not masks or p.stem in masks)]
    if not complete:
        raise InputError(f"{folder / OPENPOSE} has no pose with the name of a picture in {folder}: rename them.")
    return FrameFiles(
        _video(safe_name(folder.name), complete, "train"),
        tuple(complete),
        maps=tuple(maps[p.stem] for p in complete) if maps else (),
        keypoints=tuple(poses[p.stem] for p in complete) if poses else (),
        masks=tuple(masks[p.stem] for p in complete) if masks else (),
    )


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return files by the stem of their picture; 0001.json, 0001.png.json and 0001_keypoints.json belong to 0001."""
    if not folder.is_dir():
        return {}
    return {
        path.name.split(".")[0].removesuffix("_keypoints").removesuffix("_mask"): path
        for path in files_with_suffix(folder, suffixes)
    }


def _video(name: str, pictures: list[Path] | tuple[Path, ...], split: str) -> Video:
    width, height = read_picture(pictures[0]).size
    numbers = [int(p.stem) if p.stem.isdecimal() else index for index, p in enumerate(pictures)]
    return Video(name, len(pictures), width, height, split, runs_of(numbers), read_caption(pictures[0].parent))


def _with_split(entry: FrameFiles, split: str) -> FrameFiles:
    return replace(entry, video=replace(entry.video, split=split))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
