"""From a picture of any size to the size that a model works in."""

from PIL import Image

from ..errors import InputError
from ..limits import MAX_MADE_PIXELS, check_size

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in fractions of width and height."""


def fitted_size(width: int, height: int, size: int, unit: int, keep: bool) -> tuple[int, int]:
    """Width and height in pixels in which to process a picture of `width` x `height` pixels.

    size: the short side; unit: what both sides must be multiples of. keep: whether to keep the aspect ratio (the long
    side goes to the nearest multiple of `unit`), else the result is square, as published.
    Raises InputError where `size` is not a positive multiple of `unit` or the result is beyond what limits.py allows.
    """
    if size <= 0 or size % unit:
        raise InputError(f"The size {size} does not suit this model; give a positive multiple of {unit}.")
    long_side = max(size, round(size * max(width, height) / min(width, height) / unit) * unit) if keep else size
    made = (size, long_side) if width < height else (long_side, size)
    return check_size(made[0], made[1], "A frame", MAX_MADE_PIXELS)


def size_of_area(width: int, height: int, side: float, unit: int) -> tuple[int, int]:
    """Width and height with the shape of `width` x `height` and about as many pixels as a square of `side`.

    Both go to the nearest multiple of `unit`; of a square the result is `side`, where that is one.
    Raises InputError where the picture is so narrow that this would take a multiple of the square's pixels.
    """
    scale = side / (width * height) ** 0.5
    wide, high = (max(unit, round(length * scale / unit) * unit) for length in (width, height))
    if wide * high > 2 * max(side, unit) ** 2:
        raise InputError(f"A picture of {width} x {height} pixels is too narrow for this model; crop it first.")
    return check_size(wide, high, "A frame", MAX_MADE_PIXELS)


def crop_box(size: tuple[int, int], shape: tuple[int, int], around: Box | None = None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of the largest part of a picture that has the shape of another.

    size, shape: widths and heights of the picture and of the other. around: what the part should hold, in fractions
    of the picture. The part is the middle one, moved no farther than that needs; of what is too large for it the
    middle of its width and the top of its height stay, since there is the head.
    """
    scale = min(side / wanted for side, wanted in zip(size, shape))
    starts, lengths = [], []
    for axis, (side, wanted) in enumerate(zip(size, shape)):
        length = max(1, round(wanted * scale))
        start = (side - length) // 2
        if around is not None:
            low, high = around[axis] * side, around[axis + 2] * side
            if high - low > length:
                start = round(low if axis else (low + high - length) / 2)
            else:
                start = min(max(start, round(high - length)), round(low))
        starts.append(max(0, min(start, side - length)))
        lengths.append(length)
    return starts[0], starts[1], starts[0] + lengths[0], starts[1] + lengths[1]


def fit(picture: Image.Image, width: int, height: int, around: Box | None = None) -> Image.Image:
    """The part of `picture` that `crop_box` says, resized to `width` x `height`.

    Antialiased bilinear filter. For a square without `around` this is the published preprocessing, to the pixel: a
    centre crop with the side of the short side, then PIL's bilinear resize.
    """
    cropped = picture.crop(crop_box(picture.size, (width, height), around))
    return cropped.resize((width, height), Image.Resampling.BILINEAR)


def describe_crop(what: str, size: tuple[int, int], shape: tuple[int, int], around: Box | None = None) -> str:
    """What `fit` takes away from a picture, in a few words; empty where that is nothing."""
    left, top, right, bottom = crop_box(size, shape, around)
    margins = {"left": left, "top": top, "right": size[0] - right, "bottom": size[1] - bottom}
    if not any(margins.values()):
        return ""
    away = ", ".join(f"{pixels} {side}" for side, pixels in margins.items() if pixels)
    return f"{what} of {size[0]} x {size[1]} pixels cropped by {away}"
