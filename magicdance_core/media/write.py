"""Write pictures, animations, videos and JSON atomically, optionally in a background thread."""

import contextlib
import io
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import as_path, atomic_write, write_bytes
from ..limits import check_fps

VIDEO_FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
PICTURE_FORMATS = {".gif": "GIF", ".png": "PNG", ".webp": "WEBP"}
# Milliseconds that a format counts in, and the shortest duration: browsers show shorter GIFs slowly.
DURATIONS = {"GIF": (10, 20), "PNG": (1, 1), "WEBP": (1, 1)}
FILE_SUFFIXES = (*PICTURE_FORMATS, *VIDEO_FORMATS)

# The palette of a GIF is computed from about this many pixels, spread over all frames.
PALETTE_PIXELS = 2_000_000
BT709, LIMITED_RANGE = 1, 1

AddFrame = Callable[[Image.Image], None]


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """Write a picture as PNG. Raises InputError if that fails."""
    encoded = io.BytesIO()
    picture.save(encoded, format="PNG")  # to a file, Pillow would not tell that a full disk cut it short
    write_bytes(path, encoded.getvalue())


def write_json(path: str | Path, data) -> None:
    """Write data as JSON. Raises InputError if that fails."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def check_animation_path(path: str | Path) -> None:
    """Raise InputError if the path's suffix is not a format of `write_animation`."""
    if as_path(path).suffix.lower() not in FILE_SUFFIXES:
        raise InputError(f"{path} has an unknown suffix: use one of {', '.join(FILE_SUFFIXES)}.")


@contextlib.contextmanager
def write_animation(path: str | Path, fps: float) -> Iterator[AddFrame]:
    """Write an animation frame by frame: the block gets a function that takes one RGB picture at a time.

    The suffix selects the format: GIF (one palette for the whole clip), PNG or WebP (animated if there are several
    frames), H.264 video in MP4, MOV or MKV (streamed; 4:2:0, odd sides padded by repeating the last row or column).
    fps: frames per second; GIF rounds times to 1/100 s, PNG and WebP to 1/1000 s, and GIF shows at most 50 per second.
    Raises InputError for an unknown suffix, a rate that is not positive, no frames, or if writing fails.
    """
    path = as_path(path)
    check_animation_path(path)
    fps = check_fps(fps)
    suffix = path.suffix.lower()
    with atomic_write(path) as part:
        if suffix in VIDEO_FORMATS:
            writer = _video(part, VIDEO_FORMATS[suffix], fps)
        else:
            writer = _animated_picture(part, PICTURE_FORMATS[suffix], fps)
        with writer as add:
            yield add
        if part.stat().st_size == 0:
            raise InputError(f"There are no frames to write to {path}: give at least one.")


@contextlib.contextmanager
def _animated_picture(part: Path, kind: str, fps: float) -> Iterator[AddFrame]:
    frames: list[Image.Image] = []
    yield frames.append
    if not frames:
        return
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if len(frames) > 1:
        options |= {"duration": _durations(len(frames), fps, *DURATIONS[kind]), "loop": 0}
    if kind == "GIF":
        frames = _with_common_palette(frames)
        options |= {"optimize": False}
    frames[0].save(part, format=kind, save_all=len(frames) > 1, append_images=frames[1:], **options)


def _durations(count: int, fps: float, unit: int, shortest: int) -> list[int]:
    """Return milliseconds per frame, in whole units that add up to the right length.

    unit: milliseconds that the format counts in. shortest: duration in milliseconds.
    """
    ends = [unit * round(1000 / unit * i / fps) for i in range(count + 1)]
    return [max(shortest, end - start) for start, end in zip(ends, ends[1:])]


def _with_common_palette(frames: list[Image.Image]) -> list[Image.Image]:
    """Quantise frames to 256 colours of the whole clip, as a palette per frame would flicker."""
    step = 1 + len(frames) * frames[0].width * frames[0].height // PALETTE_PIXELS
    pixels = np.concatenate([np.asarray(frame).reshape(-1, 3)[::step] for frame in frames])
    palette = Image.fromarray(pixels[None]).quantize(256, Image.Quantize.FASTOCTREE)
    return [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]


@contextlib.contextmanager
def _video(part: Path, kind: str, fps: float) -> Iterator[AddFrame]:
    import av

    rate = Fraction(fps).limit_denominator(1001)
    try:
        with contextlib.ExitStack() as stack:
            opened: list = []

            def add(picture: Image.Image) -> None:
                pixels = np.asarray(picture)
                pixels = np.pad(pixels, ((0, pixels.shape[0] % 2), (0, pixels.shape[1] % 2), (0, 0)), mode="edge")
                if not opened:
                    where = str(part.absolute())  # a name such as 10:20.mp4 would be taken for a protocol
                    container = stack.enter_context(av.open(where, "w", format=kind))
                    opened.extend((container, _h264_stream(container, rate, pixels.shape[1], pixels.shape[0])))
                container, stream = opened
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
                container.mux(stream.encode(frame))

            yield add
            if opened:
                container, stream = opened
                container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


def _h264_stream(container, rate: Fraction, width: int, height: int):
    stream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.options = {"crf": "16", "preset": "medium"}
    context = stream.codec_context
    context.color_primaries = context.color_trc = context.colorspace = BT709
    context.color_range = LIMITED_RANGE
    return stream


MAX_WAITING = 32  # pictures that may wait to be written


@contextmanager
def in_background(do: Callable[..., object], waiting: int = MAX_WAITING) -> Iterator[Callable[..., None]]:
    """Yield a function that returns at once and runs `do` with its arguments in a thread, in the order of the calls.

    All calls are finished when the block ends. After an exception of `do` the remaining calls are skipped, and the
    exception is raised by the next call or at the end of the block. At most `waiting` calls are queued; then the
    function blocks.
    """
    calls: deque[Future] = deque()
    failed = False

    def run(*arguments) -> None:
        nonlocal failed
        if failed:
            return
        try:
            do(*arguments)
        except BaseException:
            failed = True
            raise

    with ThreadPoolExecutor(1) as thread:

        def enqueue(*arguments) -> None:
            while calls and (len(calls) >= waiting or calls[0].done()):
                calls.popleft().result()
            calls.append(thread.submit(run, *arguments))

        yield enqueue
        for call in calls:
            call.result()
