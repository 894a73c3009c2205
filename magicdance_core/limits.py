"""How large things from outside may be: what is beyond is refused before any work or memory goes into it."""

from .checks import number
from .errors import InputError

MAX_PIXELS = 2**26  # of a picture, a video's frame or a canvas: 8192 x 8192
MAX_SIDE = 32_767  # of the same; what OpenCV counts pixels with ends here
MAX_MADE_PIXELS = 2**24  # of a frame to be generated: 4096 x 4096
MAX_CANVASES = 100  # how many times a canvas' longer side a keypoint may lie away
MAX_PEOPLE = 64  # in a frame; following people takes a time that grows with the square of their number
MAX_RATIO = 50  # of the long to the short side of a pose map
MAX_FRAMES = 500_000  # of a keypoint file or of a video at an even rate; more than four hours at 30 a second
MAX_ARCHIVE_BYTES = 2**29  # of a keypoint archive, unpacked
MAX_JSON_BYTES = 2**28
MIN_FPS, MAX_FPS = 0.01, 1000.0


def check_size(width, height, what: str, most: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as whole numbers; InputError where one is not positive or they are more pixels than `most`.

    what: has that size, in messages.
    """
    try:
        width, height = (number(int, side, what) for side in (width, height))
    except InputError:
        raise InputError(f"{what} has a size of {width!r} x {height!r}; give whole numbers of pixels.") from None
    if min(width, height) <= 0:
        raise InputError(f"{what} of {width} x {height} pixels is empty; give positive sizes.")
    if max(width, height) > MAX_SIDE or width * height > most:
        raise InputError(
            f"{what} of {width} x {height} pixels is too large; "
            f"at most {most:,} pixels and {MAX_SIDE:,} a side will do."
        )
    return width, height


def check_fps(fps) -> float:
    """A number of frames a second; InputError where it is none or out of range."""
    fps = number(float, fps, "The number of frames a second")
    if not MIN_FPS <= fps <= MAX_FPS:
        raise InputError(f"{fps:g} frames a second are no rate; give a positive rate, {MIN_FPS:g} to {MAX_FPS:g}.")
    return fps


def plausible_fps(fps) -> float | None:
    """Frames a second as a file tells them; None where that cannot be."""
    return float(fps) if MIN_FPS <= fps <= MAX_FPS else None
