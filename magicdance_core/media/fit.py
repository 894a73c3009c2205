"""Choose the size that a model works in, and crop and resize pictures to it."""

from PIL import Image

from ..errors import InputError
from ..limits import MAX_MADE_PIXELS, check_size

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in fractions of width and height."""


def fitted_size(width: int, height: int, size: int, unit: int, keep_aspect: bool) -> tuple[int, int]:
    """Return width and height in pixels in which to process a picture of `width` x `height` pixels.

    size: the short side. unit: number that both sides must be multiples of. keep_aspect: the long
    side is rounded to a multiple of `unit`; otherwise the result is square, as published.
    Raises InputError if `size` is not a positive multiple of `unit` or the result exceeds limits.py.
    """
    if size <= 0 or size % unit:
        raise InputError(f"The size is {size}: give a positive multiple of {unit} for this model.")
    long_side = max(size, round(size * max(width, height) / min(width, height) / unit) * unit) if keep_aspect else size
    fitted = (size, long_side) if width < height else (long_side, size)
    return check_size(*fitted, "A frame", MAX_MADE_PIXELS)


def size_of_area(width: int, height: int, side: float, unit: int) -> tuple[int, int]:
    """Return width and height with the aspect ratio of `width` x `height` and about the area of a square of `side`.

    Both are rounded to multiples of `unit`.
    Raises InputError if the picture is so narrow that the result would have more than twice the square's pixels.
    """
    scale = side / (width * height) ** 0.5
    wide, high = (max(unit, round(length * scale / unit) * unit) for length in (width, height))
    if wide * high > 2 * max(side, unit) ** 2:
        raise InputError(f"A picture of {width} x {height} pixels is too narrow for this model: crop it first.")
    return check_size(wide, high, "A frame", MAX_MADE_PIXELS)


def crop_box(size: tuple[int, int], shape: tuple[int, int], around: Box | None = None) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom in pixels of the largest crop of a picture with a given aspect ratio.

    size: width and height of the picture. shape: width and height that give the aspect ratio. around: a box in
    fractions of the picture that the crop should contain. The crop is centred and moved only as far as the box needs;
    if the box is larger than the crop, the middle of its width and the top of its height, where the head is, are kept.
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
    """Crop a picture by `crop_box` and resize it to `width` x `height` with an antialiased bilinear filter.

    For a square without `around` this is exactly the published preprocessing: a square centre crop with the length of
    the short side, then PIL's bilinear resize.
    """
    cropped = picture.crop(crop_box(picture.size, (width, height), around))
    return cropped.resize((width, height), Image.Resampling.BILINEAR)


def describe_crop(what: str, size: tuple[int, int], shape: tuple[int, int], around: Box | None = None) -> str:
    """Return a phrase that says what `fit` crops from a picture; empty if nothing."""
    left, top, right, bottom = crop_box(size, shape, around)
    margins = {"left": left, "top": top, "right": size[0] - right, "bottom": size[1] - bottom}
    if not any(margins.values()):
        return ""
    removed = ", ".join(f"{pixels} {side}" for side, pixels in margins.items() if pixels)
    return f"{what} of {size[0]} x {size[1]} pixels cropped by {removed}"
