"""Read picture files: a closed list of formats, upright, as RGB, transparency filled with one colour."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageOps

from ..errors import InputError
from ..files import existing
from ..limits import check_size

PICTURE_SUFFIXES = (
    ".apng", ".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Pillow knows many more. Some of them start programs (EPS: Ghostscript), others name further files.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP")
# Only these are animations: further pictures of an MPO are depth and gain maps, those of a TIFF pages.
ANIMATED_FORMATS = ("AVIF", "GIF", "PNG", "WEBP")
WHITE, BLACK = (255, 255, 255), (0, 0, 0)

Colour = tuple[int, int, int]


def parse_colour(text: str) -> Colour:
    """Return the RGB values of a colour's name or of #rrggbb. Raises InputError if it is neither."""
    try:
        red, green, blue = ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(f"The colour {text[:40]!r} is unknown: give a name such as white, or #rrggbb.") from None
    return red, green, blue


def read_picture(path: str | Path, background: Colour = WHITE, quiet: bool = False) -> Image.Image:
    """Read a picture as RGB (of an animation, or of a phone's several pictures in a file, the first).

    background: colour that is put behind transparent pixels, whose own colours were hidden; a warning says so unless
    `quiet`. EXIF orientation is applied, grey is repeated over the channels, 16 and 32 bits are reduced to 8.
    Raises InputError if the file is missing, damaged, not a picture or exceeds limits.py.
    """
    with open_picture(path) as image:
        return upright_rgb(image, background, None if quiet else str(path))


def decode_picture(data: bytes, name: str, background: Colour = WHITE) -> Image.Image:
    """Decode the bytes of a picture file as `read_picture` does. name: of the file, in messages."""
    with _decode(io.BytesIO(data), name, "cannot be read as a picture") as image:
        return upright_rgb(image, background)


@contextlib.contextmanager
def open_picture(path: str | Path, complaint: str = "cannot be read as a picture") -> Iterator[Image.Image]:
    """Open a picture file, reading only its header. complaint: what the message says if reading fails."""
    path = existing(path)
    if not path.is_file():
        raise InputError(f"{path} {complaint} (it is not a file): give an undamaged PNG or JPEG file.")
    with _decode(path, str(path), complaint) as image:
        yield image


def upright_rgb(image: Image.Image, background: Colour = WHITE, name: str | None = None) -> Image.Image:
    """Return a picture as RGB, see `read_picture`. name: of its file, in the warning about transparent pixels."""
    kind = image.format
    with contextlib.suppress(SyntaxError, TypeError, ValueError, KeyError, AttributeError, OverflowError):
        image = ImageOps.exif_transpose(image)  # damaged EXIF data do not make the picture unusable
    if image.mode.startswith("I") or image.mode == "F":
        return _to_8_bits(image, has_32_bits=kind == "TIFF").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    share = float((np.asarray(rgba)[..., 3] < 255).mean())
    if share == 0:
        return rgba.convert("RGB")
    if name:
        logging.warning(
            "%s is transparent in %.3g %% of its pixels: the colour #%02x%02x%02x is put behind them "
            "(--background-color changes it).", name, 100 * share, *background,
        )  # fmt: skip
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")


@contextlib.contextmanager
def _decode(source: Path | io.BytesIO, name: str, complaint: str) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # about harmless damage and large sizes, which we check
            with Image.open(source, formats=_formats()) as image:
                check_size(*image.size, f"{name}, a picture")
                yield image
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise nearly anything for damaged files
        if name.lower().endswith((".heic", ".heif")) and "HEIF" not in _formats():
            raise InputError(f"{name} is a HEIC picture: install pillow-heif, or save it as PNG or JPEG.") from error
        raise InputError(f"{name} {complaint} ({_reason(error)}): give an undamaged PNG or JPEG file.") from error


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats of the list that this Pillow, or a plug-in beside it, can read."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    with contextlib.suppress(ImportError):
        import pillow_avif  # noqa: F401  (registers itself; Pillow before 11.3 reads no AVIF)
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def _to_8_bits(image: Image.Image, has_32_bits: bool) -> Image.Image:
    """Return a grey picture of 16 or 32 bits as mode L; convert() would clip its values.

    has_32_bits: whether integers have 32 bits (mode I may have 16, which are 0 to 65535). 32 bits, integers and floats,
    do not say what white is: it is the first of 1 (floats only), 255, 65535 and 2^31 - 1 that no pixel exceeds; floats
    beyond are scaled to their maximum.
    """
    values = np.nan_to_num(np.asarray(image, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode.startswith("I;16") or (image.mode == "I" and not has_32_bits):
        return Image.fromarray((values // 256).clip(0, 255).astype(np.uint8))
    highest = values.max(initial=0)
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0, 2.0**31 - 1)
    white = next((white for white in whites if highest <= white), highest)
    return Image.fromarray((values * (255 / white)).clip(0, 255).round().astype(np.uint8))
