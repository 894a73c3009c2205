"""Read animated pictures, GIF, PNG, WebP and AVIF, with the duration of each frame."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageSequence

from .pictures import ANIMATED_FORMATS, WHITE, Colour, open_picture, upright_rgb

# Browsers show GIFs with shorter durations, 0 and 1 hundredth of a second, this long; milliseconds.
GIF_DEFAULT, GIF_SHORTEST = 100.0, 10.0


def durations(path: Path) -> tuple[tuple[float, ...], float]:
    """Return the milliseconds of each frame of a picture file, and those that they are rounded to.

    Pictures that are no animation have one frame, also those with further ones that are pages or depth maps.
    Raises InputError if it cannot be read.
    """
    with open_picture(path) as image:
        image.load()
        if image.format not in ANIMATED_FORMATS or getattr(image, "n_frames", 1) == 1:
            return (0.0,), 1.0
        found = tuple(_duration(frame) for frame in ImageSequence.Iterator(image))
        return found, 1.0 if any(duration % 10 for duration in found) else 10.0


def pictures(path: Path, background: Colour = WHITE) -> Iterator[Image.Image]:
    """Yield the frames of an animation as RGB. Raises InputError if it breaks off."""
    with open_picture(path, "breaks off") as image:
        name: str | None = str(path)
        for frame in ImageSequence.Iterator(image):
            yield upright_rgb(frame, background, name)
            name = None


def _duration(frame: Image.Image) -> float:
    frame.load()  # WebP and AVIF know it then only
    duration = float(frame.info.get("duration") or 0)
    return GIF_DEFAULT if duration <= (GIF_SHORTEST if frame.format == "GIF" else 0) else duration
