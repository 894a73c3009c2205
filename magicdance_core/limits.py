"""Limits of input from outside: what exceeds them is refused before it takes time or memory."""

from .checks import number, quoted, shown
from .errors import InputError

MAX_PIXELS = 2**26  # of a picture, a video's frame or a canvas: 8192 x 8192
MAX_SIDE = 32_767  # of the same; the limit of OpenCV
MAX_MADE_PIXELS = 2**24  # of a frame to be generated: 4096 x 4096
MAX_CANVASES = 100  # distance of a keypoint in longer sides of the canvas
MAX_PEOPLE = 64  # in a frame; the time for tracking grows with the square of their number
MAX_RATIO = 50  # of the long to the short side of a pose map
MAX_FRAMES = 500_000  # of a keypoint file or of a video at an even rate; more than four hours at 30 a second
MAX_ARCHIVE_BYTES = 2**29  # of a keypoint archive, unpacked
MAX_JSON_BYTES = 2**28
MAX_FILE_BYTES = 2**29  # of a picture, log or configuration that is read as a whole
MAX_CLIP_BYTES = 2**30  # of the pictures of a clip, read together
MIN_FPS, MAX_FPS = 0.01, 1000.0


def check_size(width, height, what: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return width and height as integers.

    what: the thing that has this size, in messages. Raises InputError if a side is not positive, or if there are more
    than `max_pixels` pixels.
    """
    try:
        width, height = (number(int, side, what) for side in (width, height))
    except InputError:
        raise InputError(
            f"{what} has a size of {quoted(width)} x {quoted(height)}: give whole numbers of pixels."
        ) from None
    if min(width, height) <= 0:
        raise InputError(f"{what} of {shown(width)} x {shown(height)} pixels is empty: give positive sizes.")
    if max(width, height) > MAX_SIDE or width * height > max_pixels:
        raise InputError(
            f"{what} of {shown(width)} x {shown(height)} pixels is too large: "
            f"give at most {max_pixels:,} pixels and {MAX_SIDE:,} per side."
        )
    return width, height


def check_fps(fps) -> float:
    """Return a frame rate. Raises InputError if it is no number or out of range."""
    fps = number(float, fps, "The frame rate")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise InputError(f"The frame rate is {fps:g}: give {MIN_FPS:g} to {MAX_FPS:g} frames a second.")
    return fps


def plausible_fps(fps) -> float | None:
    """Return a frame rate that a file states; None if it cannot be right."""
    return float(fps) if MIN_FPS <= fps <= MAX_FPS else None
