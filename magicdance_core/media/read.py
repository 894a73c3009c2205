"""Reading pictures, folders of pictures, animations and videos; nothing is held longer than it is looked at."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, ImageSequence

from ..errors import InputError
from ..files import existing, existing_file, files_with_suffix
from ..limits import check_size, plausible_fps
from .video import average_rate, decode, unreadable

PICTURE_SUFFIXES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Frames:
    """Frames to be read one by one, as often as wanted; iterating yields RGB pictures.

    count: how many there are, None where only reading tells. fps: frames a second, None where the source has no such
    thing. names: the frames' file names without suffix, None where they do not come from files of their own.
    """

    read: Callable[[], Iterator[Image.Image]]
    count: int | None = None
    fps: float | None = None
    names: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Image.Image]:
        return self.read()


def read_picture(path: str | Path) -> Image.Image:
    """The picture in a file, RGB, upright; of an animation the first frame.

    The rotation in its EXIF data is applied, an alpha channel is dropped and not composited (as published), grey is
    spread over the channels, 16 bits are rounded down to 8.
    Raises InputError where the file is missing, damaged, not a picture or larger than limits.py allows.
    """
    with _opened(path, "cannot be read as a picture") as image:
        return _upright_rgb(image)


def decode_picture(data: bytes, name: str) -> Image.Image:
    """The picture that the bytes of a file are, as `read_picture` gives it. name: of the file, in messages."""
    with _decoded(io.BytesIO(data), name, "cannot be read as a picture") as image:
        return _upright_rgb(image)


def read_frames(path: str | Path) -> Frames:
    """The frames of a folder of pictures, of an animated picture or of a video.

    A folder's pictures come sorted by name, numbers in names by value; other files in it are ignored. A video is
    decoded frame by frame while it is iterated, with its rotation applied and alpha dropped.
    Raises InputError where nothing can be read; while iterating, where a frame cannot.
    """
    path = existing(path)
    if path.is_dir():
        files = files_with_suffix(path, PICTURE_SUFFIXES)
        if not files:
            raise InputError(f"{path} holds no pictures; give a folder with one picture a frame, or a video.")
        return Frames(lambda: map(read_picture, files), len(files), names=tuple(file.stem for file in files))
    return (_animation if path.suffix.lower() in PICTURE_SUFFIXES else _video)(existing_file(path))


@contextlib.contextmanager
def _opened(path: str | Path, complaint: str) -> Iterator[Image.Image]:
    """A picture file of which only the header was read. complaint: what is said of it where reading fails."""
    path = existing(path)
    if not path.is_file():
        raise InputError(f"{path} {complaint} (it is no file); give a whole PNG or JPEG file.")
    with _decoded(path, str(path), complaint) as image:
        yield image


@contextlib.contextmanager
def _decoded(source: Path | io.BytesIO, name: str, complaint: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of damage that does not matter, of sizes beyond our limit
            with Image.open(source) as image:
                check_size(*image.size, f"{name}, a picture")
                yield image
    except (InputError, MemoryError):
        raise
    except Exception as error:  # damaged files make the many readers raise nearly anything
        raise InputError(f"{name} {complaint} ({_reason(error)}); give a whole PNG or JPEG file.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _animation(path: Path) -> Frames:
    with _opened(path, "cannot be read as a picture") as image:
        image.load()
        count, duration = getattr(image, "n_frames", 1), image.info.get("duration")

    def read() -> Iterator[Image.Image]:
        with _opened(path, "breaks off") as image:
            yield from (frame.convert("RGB") for frame in ImageSequence.Iterator(image))

    if count == 1:
        return Frames(lambda: iter([read_picture(path)]), 1)
    return Frames(read, count, plausible_fps(1000 / duration) if duration else None)


def _video(path: Path) -> Frames:
    if next(decode(path, lambda error, done: None), None) is None:
        raise InputError(f"{path} holds no frames; give a video with a picture track.")

    def break_off(error: Exception, done: int) -> None:
        raise unreadable(path, error, done) from error

    return Frames(lambda: (Image.fromarray(picture) for _, picture in decode(path, break_off)), fps=average_rate(path))
