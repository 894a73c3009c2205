"""Public data sets by their names: where their folders hold which videos, and which are for testing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import check_folder, existing, files_with_suffix
from ..media.read import PICTURE_SUFFIXES, VIDEO_SUFFIXES
from .index_files import safe_name

TIKTOK_TEST = range(335, 341)
"""The test videos of DisCo's split, which the paper follows: 335 to 340; 1 to 334 are for training."""


@dataclass(frozen=True)
class KnownVideo:
    """A video of a data set. path: a file, or a folder of frames. split: "train" or "test". poses: if it has any."""

    path: Path
    split: str
    poses: Path | None = None


Found = Iterator[tuple[str, KnownVideo]]


def find_known(name: str, folder: Path) -> dict[str, KnownVideo]:
    """Return the videos of a public data set by their names. name: in `KNOWN`.

    Raises InputError if the folder has another structure, or something in it leads out of it.
    """
    folder, (find, structure) = existing(folder), KNOWN[name]
    if folder.is_dir():
        check_folder(folder)
    found = dict(sorted(find(folder))) if folder.is_dir() else {}
    if not found:
        raise InputError(f"{folder} does not hold {name}: give the folder of {structure}.")
    return found


def _tiktok(folder: Path) -> Found:
    """TikTok's numbered folders of frames, or DisCo's with poses; frames are inside or in `images`."""
    for video in _folders(folder):
        frames = video / "images" if (video / "images").is_dir() else video
        if video.name.isdecimal() and files_with_suffix(frames, PICTURE_SUFFIXES):
            poses = video / "openpose_json"
            split = "test" if int(video.name) in TIKTOK_TEST else "train"
            yield video.name, KnownVideo(frames, split, poses if poses.is_dir() else None)


def _ubc_fashion(folder: Path) -> Found:
    for split in ("train", "test"):
        if (folder / split).is_dir():
            for file in files_with_suffix(folder / split, VIDEO_SUFFIXES):
                yield safe_name(f"{split}-{file.stem}"), KnownVideo(file, split)


def _everybody_dance_now(folder: Path) -> Found:
    """Each subject's frames in train_img and test_img, beside label pictures, at any depth up to three."""
    for split in ("train", "test"):
        for pattern in (f"{split}_img", f"*/{split}_img", f"*/*/{split}_img"):
            for frames in folder.glob(pattern):
                if frames.is_dir() and files_with_suffix(frames, PICTURE_SUFFIXES):
                    place = "-".join((*frames.parent.relative_to(folder).parts, split))
                    yield safe_name(place), KnownVideo(frames, split)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


KNOWN: dict[str, tuple[Callable[[Path], Found], str]] = {
    "tiktok": (_tiktok, "numbered videos, 00001/images/*.png as published or 001/*.png as prepared by DisCo"),
    "ubc-fashion": (_ubc_fashion, "train/*.mp4 and test/*.mp4"),
    "everybody-dance-now": (_everybody_dance_now, "subjects with train_img/*.png and test_img/*.png"),
}
"""Name -> function that finds its videos, and the structure that it expects."""
