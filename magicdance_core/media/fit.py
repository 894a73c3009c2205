"""From a picture of any size to the size that a model works in."""

from PIL import Image

from ..errors import InputError


def fitted_size(width: int, height: int, size: int, unit: int, keep: bool) -> tuple[int, int]:
    """Width and height in pixels in which to process a picture of `width` x `height` pixels.

    size: the short side; unit: what both sides must be multiples of. keep: whether to keep the aspect ratio (the long
    side goes to the nearest multiple of `unit`), else the result is square, as published.
    Raises InputError where `size` is not a positive multiple of `unit`.
    """
    if size <= 0 or size % unit:
        raise InputError(f"The size {size} does not suit this model; give a positive multiple of {unit}.")
    if not keep:
        return size, size
    long_side = max(size, round(size * max(width, height) / min(width, height) / unit) * unit)
    return (size, long_side) if width < height else (long_side, size)


def fit(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The largest centred part of `picture` that has the shape of `width` x `height`, resized to it.

    Antialiased bilinear filter. For a square this is the published preprocessing, to the pixel: a centre crop with the
    side of the short side, then PIL's bilinear resize.
    """
    scale = min(picture.width / width, picture.height / height)
    part = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (picture.width - part[0]) // 2, (picture.height - part[1]) // 2
    cropped = picture.crop((left, top, left + part[0], top + part[1]))
    return cropped.resize((width, height), Image.Resampling.BILINEAR)
