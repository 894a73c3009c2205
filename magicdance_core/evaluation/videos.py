"""Matching of a method's videos and frames with the true ones."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from PIL import Image

from ..errors import InputError
from ..files import existing
from ..media import read_frames
from ..media.read import PICTURE_SUFFIXES
from ..media.video import VIDEO_SUFFIXES as FILM_SUFFIXES

MAX_NAMED = 5  # of missing files in a message
VIDEO_SUFFIXES = (*FILM_SUFFIXES, ".apng", ".gif")
ONLY = "frames"  # name of the only video, if a path is a folder of pictures or a file


def videos_by_name(root: str | Path) -> dict[str, Path]:
    """Return the videos under a path by name: subfolders of pictures and video files, or the path itself if it is one.

    Raises InputError if there is none, if two have one name, or if videos and pictures are mixed.
    """
    root = existing(root)
    if root.is_file():
        return {ONLY: root}
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    videos = [e for e in entries if e.is_dir() or e.suffix.lower() in VIDEO_SUFFIXES]
    pictures = [e for e in entries if e.suffix.lower() in PICTURE_SUFFIXES and e not in videos]
    if videos and pictures:
        raise InputError(f"{root} holds videos and single pictures ({pictures[0].name}); give the ones or the others.")
    if not videos:
        if not pictures:
            raise InputError(f"{root} holds no videos; give a folder of videos, or of folders with a picture a frame.")
        return {ONLY: root}
    found: dict[str, Path] = {}
    for path in videos:
        name = path.name if path.is_dir() else path.stem
        if name in found:
            raise InputError(f"{root} holds two videos named {name}; keep one.")
        found[name] = path
    return found


def match_videos(made_root: str | Path, true: dict[str, Path], true_root: str | Path) -> dict[str, Path]:
    """Return a method's videos in the order of the true ones. Raises InputError if names are missing or surplus."""
    made = videos_by_name(made_root)
    if len(made) == len(true) == 1:
        return dict(zip(true, made.values()))
    check_names(tuple(made), made_root, tuple(true), true_root, "videos")
    return {name: made[name] for name in true}


def frame_pairs(generated: str | Path, truth: str | Path) -> Iterator[tuple[Image.Image, Image.Image]]:
    """Yield pairs (generated, true): frames of two folders by their names without suffix, all others by their order.

    Raises InputError if frames are missing or surplus: at once if names show it, else when one of the two ends.
    """
    made, true = read_frames(generated), read_frames(truth)
    if made.names and true.names:
        check_names(made.names, generated, true.names, truth, "frames")  # sorted alike, so that their order is the same
    for number, (image, target) in enumerate(zip_longest(made, true)):
        if image is None or target is None:
            shorter = generated if image is None else truth
            raise InputError(f"{shorter} ends after {number} frames, before the other: give as many frames in both.")
        yield image, target


def check_names(
    made: tuple[str, ...], made_root: str | Path, true: tuple[str, ...], true_root: str | Path, what: str
) -> None:
    """Raise InputError if one folder lacks names that the other has, or has one twice. what: "frames" or "videos"."""
    for names, folder, wanted, other in ((made, made_root, true, true_root), (true, true_root, made, made_root)):
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{folder} holds several pictures named {repeated}; keep one.")
        if missing := [name for name in wanted if name not in set(names)]:
            listed = ", ".join(missing[:MAX_NAMED]) + (", ..." if len(missing) > MAX_NAMED else "")
            raise InputError(
                f"{folder} lacks {len(missing)} of the {what} in {other} ({listed}); {what} are matched by name, "
                "so rename, add or remove some."
            )
