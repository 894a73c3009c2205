"""Read pictures, folders of pictures, animations and videos; frames are decoded one by one and not kept."""

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
    """Frames that are decoded while iterating, as often as wanted; yields RGB pictures.

    count: number of frames, None if unknown before reading. fps: frames per second, None if the source has no times.
    names: file names without suffix, None if the frames are not single files.
    """

    read: Callable[[], Iterator[Image.Image]]
    count: int | None = None
    fps: float | None = None
    names: tuple[str, ...] | None = None

    def __iter__(self) -> Iterator[Image.Image]:
        return self.read()


def read_picture(path: str | Path) -> Image.Image:
    """Read a picture as RGB (of an animation, the first frame).

    EXIF rotation is applied, an alpha channel is dropped without compositing (as published), grey is repeated over the
    channels, 16 bits are truncated to 8.
    Raises InputError if the file is missing, damaged, not a picture or exceeds limits.py.
    """
    with _open_picture(path, "cannot be read as a picture") as image:
        return _upright_rgb(image)


def decode_picture(data: bytes, name: str) -> Image.Image:
    """Decode the bytes of a picture file as `read_picture` does. name: of the file, in messages."""
    with _decode(io.BytesIO(data), name, "cannot be read as a picture") as image:
        return _upright_rgb(image)


def read_frames(path: str | Path) -> Frames:
    """Return the frames of a folder of pictures, an animated picture or a video.

    Pictures of a folder are sorted by name, with numbers by value; other files are ignored. A video is decoded while
    iterating, with its rotation applied and alpha dropped.
    Raises InputError if nothing can be read; while iterating, if a frame cannot be read.
    """
    path = existing(path)
    if path.is_dir():
        files = files_with_suffix(path, PICTURE_SUFFIXES)
        if not files:
            raise InputError(f"{path} has no pictures: give a folder with one picture per frame, or a video.")
        return Frames(lambda: map(read_picture, files), len(files), names=tuple(file.stem for file in files))
    return (_animation if path.suffix.lower() in PICTURE_SUFFIXES else _video)(existing_file(path))


@contextlib.contextmanager
def _open_picture(path: str | Path, complaint: str) -> Iterator[Image.Image]:
    """Open a picture file, reading only its header. complaint: what the message says if reading fails."""
    path = existing(path)
    if not path.is_file():
        raise InputError(f"{path} {complaint} (it is not a file): give an undamaged PNG or JPEG file.")
    with _decode(path, str(path), complaint) as image:
        yield image


@contextlib.contextmanager
def _decode(source: Path | io.BytesIO, name: str, complaint: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # about harmless damage and large sizes, which we check
            with Image.open(source) as image:
                check_size(*image.size, f"{name}, a picture")
                yield image
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly anything for damaged files
        raise InputError(f"{name} {complaint} ({_reason(error)}): give an undamaged PNG or JPEG file.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits; convert() would clip them
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _animation(path: Path) -> Frames:
    with _open_picture(path, "cannot be read as a picture") as image:
        image.load()
        count, duration = getattr(image, "n_frames", 1), image.info.get("duration")

    def read() -> Iterator[Image.Image]:
        with _open_picture(path, "breaks off") as image:
            yield from (frame.convert("RGB") for frame in ImageSequence.Iterator(image))

    if count == 1:
        return Frames(lambda: iter([read_picture(path)]), 1)
    return Frames(read, count, plausible_fps(1000 / duration) if duration else None)


def _video(path: Path) -> Frames:
    if next(decode(path, lambda error, done: None), None) is None:
        raise InputError(f"{path} has no frames: give a video with a picture track.")

    def fail(error: Exception, done: int) -> None:
        raise unreadable(path, error, done) from error

    return Frames(lambda: (Image.fromarray(picture) for _, picture in decode(path, fail)), fps=average_rate(path))
