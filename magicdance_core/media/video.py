"""Decode videos frame by frame, upright, with square pixels and with times."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from ..errors import InputError
from ..limits import check_size, plausible_fps
from .pictures import WHITE, Colour
from .timing import Timed

VIDEO_SUFFIXES = (
    ".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".ivf", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg",
    ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogv", ".qt", ".ts", ".vob", ".webm",
    ".wmv", ".y4m",
)  # fmt: skip
# Formats without playlists, which could name other files and addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,h264,hevc,vvc,av1,obu,ivf,m4v,h263,"
    "mxf,gxf,dv,yuv4mpegpipe,mjpeg,nut,vc1,wtv,wav,mp3,aac,flac"
)
FALLBACK_FPS = 30.0  # of videos without times
# Frame times are compared with this many before: the usual interval.
REMEMBERED = 300
# Frames that leave the decoder after an error and may come from before it, as it works on several at once.
DECODER_DELAY = 32
# Pixels this near to square are taken as they are; a ratio farther off is no shape that a camera has.
SQUARE, MAX_PIXEL_RATIO = 0.01, 8
JUMP = 0.2  # seconds that times go back where recordings were joined

Damaged = Callable[[Exception, int], None]


@contextlib.contextmanager
def open_video(path: Path) -> Iterator:
    """Open a video file and yield its PyAV container. Raises InputError if it has no picture track."""
    with open_media(path) as container:
        track = picture_track(container)
        if track is None:
            raise InputError(f"{path} has no picture track: give a video.")
        context = track.codec_context
        if context is None:
            raise InputError(f"{path} has pictures in an unknown format: convert it to H.264.")
        if context.width or context.height:  # otherwise each frame is checked
            check_size(context.width, context.height, f"{path}, a video")
        yield container


@contextlib.contextmanager
def open_media(path: Path) -> Iterator:
    """Open a file with pictures or sound and yield its PyAV container. Raises InputError if it is none."""
    import av

    try:
        # An absolute path, as a name such as 10:20.mp4 would be taken for a protocol.
        where, options = str(path.absolute()), {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
        container = av.open(where, options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable(path, error) from error
    with container:
        yield container


def picture_track(container: Any) -> Any:
    """Return the video track of a container that is marked as default, else the first; None if there is none.

    Cover pictures of music are no video track.
    """
    from av.stream import Disposition

    tracks = [track for track in container.streams.video if not track.disposition & Disposition.attached_pic]
    return next((track for track in tracks if track.disposition & Disposition.default), tracks[0] if tracks else None)


def decode(path: Path, damaged: Damaged, background: Colour = WHITE) -> Iterator[Timed]:
    """Yield the frames of a video, uint8 [H, W, 3] RGB, upright and with square pixels, and when they are shown.

    damaged: called with the error and the number of frames so far if something cannot be decoded; unless it raises,
    decoding continues behind it. background: put behind transparent pixels. Raises InputError if the file cannot be
    opened.
    """
    with open_video(path) as container:
        track = picture_track(container)
        ratio = _pixel_ratio(track)
        for time, frame, duration in _timed(container, track, damaged):
            yield Timed(time, _to_array(frame, ratio, background, path), duration)


def video_times(path: Path, damaged: Damaged) -> Iterator[Timed]:
    """Yield when the frames of a video are shown, with None as pictures; see `decode`."""
    with open_video(path) as container:
        for time, _, duration in _timed(container, picture_track(container), damaged):
            yield Timed(time, None, duration)


def _timed(container: Any, track: Any, damaged: Damaged) -> Iterator[tuple[float, Any, float]]:
    """Yield times since the first frame, decoded frames and durations in seconds.

    Times are those of the decoded frames, as rates in headers are often wrong. A frame is shown until the next one; if
    decoding failed between them, only as long as usual. Frames whose time is not after the one before are dropped;
    where recordings were joined and times begin anew, they go on.
    """
    usual = 1 / (plausible_fps(track.average_rate or 0) or FALLBACK_FPS)
    intervals: deque[float] = deque(maxlen=REMEMBERED)
    first = offset = 0.0
    shown: tuple[float, Any] | None = None
    suspicious = done = 0
    stated_rightly = False
    for frame, failed in _decoded(container, track, damaged):
        done += 1
        if failed:
            suspicious = DECODER_DELAY
        if shown is None:
            first = frame.time or 0.0
            shown = 0.0, frame
            continue
        time = shown[0] + usual if frame.time is None else frame.time - first + offset
        if time < shown[0] - JUMP:
            offset += shown[0] + usual - time
            time = shown[0] + usual
        interval = time - shown[0]
        if interval <= 0:
            continue
        gap = suspicious and interval > 1.5 * usual
        suspicious = max(0, suspicious - 1)
        yield *shown, min(usual, interval) if gap else interval
        stated_rightly = abs(_stated_duration(shown[1]) - interval) < interval / 2
        if not gap:
            intervals.append(interval)
            usual = median(intervals)
        shown = time, frame
    if shown is not None:
        complete = done >= (track.frames or 0) and not offset
        yield *shown, _last_duration(track, shown[1], usual, complete, stated_rightly)


def _last_duration(track: Any, frame: Any, usual: float, complete: bool, stated_rightly: bool) -> float:
    """Return how long the last frame is shown: until the track ends, else as the frame says, else as usual.

    complete: whether all frames that the track states were decoded. stated_rightly: whether the frame before said how
    long it was shown. Durations below half the usual one are artefacts: with a variable rate and reordered frames some
    files store the distance to the next packet in decoding order.
    """
    stated = 0.0
    if complete and track.duration and frame.pts is not None:
        stated = float(((track.start_time or 0) + track.duration - frame.pts) * track.time_base)
    elif stated_rightly:
        stated = _stated_duration(frame)
    return stated if stated > usual / 2 else usual


def _stated_duration(frame: Any) -> float:
    return float((frame.duration or 0) * (frame.time_base or 0))


def _decoded(container: Any, track: Any, damaged: Damaged) -> Iterator[tuple[Any, bool]]:
    """Yield decoded frames, and whether decoding failed since the frame before."""
    import av

    track.thread_type = "AUTO"
    packets, done, failed = container.demux(track), 0, False
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except av.FFmpegError as error:
            damaged(error, done)
            failed = True
            if isinstance(error, av.EOFError):
                return
            continue
        for frame in frames:
            done += 1
            yield frame, failed
            failed = False


def _pixel_ratio(track: Any) -> Fraction:
    """Return the width of a pixel, relative to its height; 1 if it is nearly that or cannot be right."""
    ratio = track.sample_aspect_ratio
    if not ratio or not 1 / MAX_PIXEL_RATIO <= ratio <= MAX_PIXEL_RATIO or abs(ratio - 1) < SQUARE:
        return Fraction(1)
    return Fraction(ratio)


def _to_array(frame: Any, ratio: Fraction, background: Colour, path: Path) -> np.ndarray:
    """Return a decoded frame as RGB; the shorter side of its pixels is stretched, so that no detail is lost."""
    width, height = round(frame.width * max(ratio, 1)), round(frame.height / min(ratio, 1))
    check_size(width, height, f"{path}, a video")
    transparent = any(component.is_alpha for component in frame.format.components)
    # PyAV before 17 respects the colour space of a file only if a range is given; RGB has the full range.
    kind: dict[str, Any] = {"format": "rgba" if transparent else "rgb24", "dst_color_range": "JPEG"}
    if ratio != 1:
        kind |= {"width": width, "height": height, "interpolation": "BICUBIC"}
    array = frame.to_ndarray(**kind)
    if transparent:
        cover = array[..., 3:] / np.float32(255)
        array = (array[..., :3] * cover + np.float32(background) * (1 - cover) + 0.5).astype(np.uint8)
    return np.ascontiguousarray(_upright(array, frame))


def _upright(array: np.ndarray, frame: Any) -> np.ndarray:
    """Apply the display matrix of a frame, rounded to quarter turns, with mirroring.

    The matrix is 9 integers a, b, u, c, d, v, x, y, w: a pixel (p, q) is shown at (a p + c q, b p + d q), down being
    positive (ISO/IEC 14496-12, 6.2.2).
    """
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return array
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) + abs(d) < abs(b) + abs(c):
        array, a, d = array.swapaxes(0, 1), c, b
    return array[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def unreadable(path: Path, error: Exception, done: int = 0) -> InputError:
    """Return the InputError for a video that cannot be decoded, or only its first `done` frames."""
    reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
    reason = f"it breaks off after {done} frames, {reason}" if done else reason
    return InputError(f"{path} cannot be read as a video ({reason}): give an undamaged file.")
