"""Carry the sound of a driving video over to what is made from it."""

import heapq
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import InputError
from ..files import atomic_write
from .video import open_media, open_video, picture_track
from .write import VIDEO_FORMATS

# Codecs that players expect in a container; others are encoded as AAC. Matroska takes all.
COPIED = {"mp4": ("aac", "mp3", "ac3", "eac3", "alac", "opus"), "mov": ("aac", "mp3", "ac3", "alac", "pcm_s16le")}
AUDIO_SUFFIX = ".m4a"
LAYOUTS = {1: "mono", 2: "stereo"}  # by the number of channels
MAX_SOUND_BYTES = 2**31  # of decoded sound in memory: an hour and a half of stereo
MAX_SAMPLE_RATE = 768_000
ERRORS = (av.FFmpegError, ValueError, OverflowError)
ENCODED_RATES = (48_000, 44_100, 32_000, 24_000, 22_050, 16_000)


def add_audio(out: Path, silent: Path, source: Path, start: float = 0.0) -> str:
    """Write a video with the pictures of `silent` and the sound of `source` from `start` seconds on, cut to its length.

    out: an .mp4, .mov or .mkv file. silent: an .mp4 file, since its packets have all times that a container needs.
    Times count from the first frame of the source. Returns "copied" or "encoded", or "" if the source has no sound
    there. Raises InputError if a file cannot be read or written.
    """
    kind = VIDEO_FORMATS[out.suffix.lower()]
    with open_video(silent) as pictures:
        stream, packets, seconds = _packets(pictures)
        with atomic_write(out) as part:
            return _mux(part, kind, source, start, start + seconds, stream, packets)


def add_samples(out: Path, silent: Path, samples: np.ndarray, rate: int) -> None:
    """Write a video with the pictures of `silent` and sound, float `[1 or 2, n]` in [-1, 1], cut to its length.

    out, silent: see `add_audio`. Raises InputError if a file cannot be read or written.
    """
    kind = VIDEO_FORMATS[out.suffix.lower()]
    with open_video(silent) as pictures:
        stream, packets, end = _packets(pictures)
        with atomic_write(out) as part, av.open(str(part.absolute()), "w", format=kind) as made:
            video = made.add_stream_from_template(stream)
            track = made.add_stream("aac", rate=_encoded_rate(rate))
            track.layout = LAYOUTS[len(samples)]
            wanted = track.codec_context.sample_rate
            sound = _encode(_resampled(samples, rate, LAYOUTS[len(samples)], wanted), track, round(end * wanted))
            for packet in heapq.merge(_rerouted(packets, video), sound, key=_time):
                made.mux(packet)


def extract_audio(out: Path, source: Path, start: float, end: float) -> str:
    """Write the sound of a video between two times, in seconds, to an .m4a file; see `add_audio`."""
    with atomic_write(out) as part:
        made = _mux(part, "mp4", source, start, end)
    if not made:
        out.unlink()
    return made


def read_audio(source: Path) -> tuple[np.ndarray, int] | None:
    """Return the sound of a video from its first frame on, float32 `[channels, samples]` in [-1, 1], and its rate.

    source: or a file of sound alone. None if there is no sound. Raises InputError if the file cannot be read.
    """
    with open_media(source) as container:
        if not container.streams.audio:
            return None
        try:
            audio, offset = _sound_track(container), _first_picture(container)
            rate, layout = audio.codec_context.sample_rate, audio.codec_context.layout.name
            resampler, parts, done = av.AudioResampler("fltp", layout, rate), [], 0
            for frame in container.decode(audio):
                first = 0 if frame.pts is None else round((frame.pts * frame.time_base - offset) * rate)
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()[:, max(0, done - first) if first < done else 0 :]
                    if len(samples) * (max(first, done) + samples.shape[1]) * 4 > MAX_SOUND_BYTES:
                        raise InputError(
                            f"The sound of {source} takes over {MAX_SOUND_BYTES / 1e9:.1f} GB: use a shorter video."
                        )
                    if first > done:  # silence, where the sound has a gap or begins later
                        samples = np.pad(samples, ((0, 0), (first - done, 0)))
                    parts.append(samples)
                    done += samples.shape[1]
                    first = done
        except InputError:
            raise
        except ERRORS as error:
            raise InputError(f"The sound of {source} cannot be read ({_reason(error)}): use another video.") from error
    return (np.concatenate(parts, axis=1), rate) if parts else None


def _packets(pictures) -> tuple:
    """Return the video stream of an .mp4 container, its packets and its duration in seconds."""
    stream = pictures.streams.video[0]
    packets = [packet for packet in pictures.demux(stream) if packet.size]
    return stream, packets, float(max(packet.pts + (packet.duration or 0) for packet in packets) * stream.time_base)


def _mux(part: Path, kind: str, source: Path, start: float, end: float, template=None, pictures: Iterable = ()) -> str:
    """Write a container with given video packets and the sound of `source`; returns how the sound was taken over."""
    try:
        with open_media(source) as heard, av.open(str(part.absolute()), "w", format=kind) as out:
            if not heard.streams.audio:
                return "" if template is None else _copy(out, template, pictures)
            audio = _sound_track(heard)
            video_out = None if template is None else out.add_stream_from_template(template)
            if audio.codec_context.name in COPIED.get(kind, (audio.codec_context.name,)):
                made, track = "copied", out.add_stream_from_template(audio)
                sound = _copied(heard, audio, track, start, end)
            else:
                made, track = "encoded", out.add_stream("aac", rate=_encoded_rate(audio.codec_context.sample_rate))
                track.layout = "stereo" if audio.codec_context.channels > 1 else "mono"
                sound = _encoded(heard, audio, track, start, end)
            empty = True
            for packet in heapq.merge(_rerouted(pictures, video_out), sound, key=_time):
                empty = empty and packet.stream is not track
                out.mux(packet)
            return "" if empty else made
    except InputError:
        raise
    except ERRORS as error:
        raise InputError(f"The sound of {source} cannot be read ({_reason(error)}): use --no-audio.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__


def _sound_track(container: Any) -> Any:
    """Return the first sound track of a container that has one. Raises ValueError if nothing can decode it."""
    audio = container.streams.audio[0]
    if audio.codec_context is None:
        raise ValueError("its codec is unknown")
    if not 1 <= audio.codec_context.sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(f"{audio.codec_context.sample_rate} samples a second")
    return audio


def _copy(out, template, pictures: Iterable) -> str:
    for packet in _rerouted(pictures, out.add_stream_from_template(template)):
        out.mux(packet)
    return ""


def _rerouted(packets: Iterable, stream) -> Iterator:
    for packet in packets:
        packet.stream = stream
        yield packet


def _time(packet) -> Fraction:
    return packet.dts * packet.time_base


def _first_picture(container) -> Fraction:
    """Return the time of the first frame, from which `video.decode` counts, and rewind the container."""
    stream = picture_track(container)
    if stream is None:
        return Fraction(0)
    if stream.codec_context is None:  # PyAV before 16 crashes
        raise ValueError("its pictures are in an unknown format")
    for packet in container.demux(stream):
        for frame in packet.decode():
            container.seek(0)
            return Fraction(0) if frame.pts is None else frame.pts * frame.time_base
    return Fraction(0)


def _copied(container, audio, track, start: float, end: float) -> Iterator:
    offset = _first_picture(container) + Fraction(start)
    for packet in container.demux(audio):
        if packet.pts is None or packet.dts is None:
            continue
        time = packet.pts * packet.time_base - offset
        if time >= end - start:
            return
        if time + (packet.duration or 0) * packet.time_base <= 0:
            continue
        shift = round(offset / packet.time_base)
        packet.pts, packet.dts, packet.stream = max(0, packet.pts - shift), max(0, packet.dts - shift), track
        yield packet


def _encoded(container, audio, track, start: float, end: float) -> Iterator:
    """Decode the sound of a container, cut it to the sample, and encode it."""
    rate, offset = track.codec_context.sample_rate, _first_picture(container) + Fraction(start)
    resampler = av.AudioResampler("fltp", track.codec_context.layout.name, rate)

    def parts() -> Iterator[tuple[int, np.ndarray]]:
        for frame in container.decode(audio):
            time = Fraction(0) if frame.pts is None else frame.pts * frame.time_base - offset
            for part in resampler.resample(frame):
                yield round(time * rate), part.to_ndarray()
                time += Fraction(part.samples, rate)

    yield from _encode(parts(), track, round((end - start) * rate))


def _resampled(samples: np.ndarray, rate: int, layout: str, wanted: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first sample's number and samples `[channels, n]` at another rate, for `_encode`."""
    resampler, done = av.AudioResampler("fltp", layout, wanted), 0
    for first in range(0, samples.shape[1], rate):
        frame = _audio_frame(samples[:, first : first + rate], layout, rate, first)
        for part in resampler.resample(frame):
            yield done, part.to_ndarray()
            done += part.samples
    for part in resampler.resample(None):
        yield done, part.to_ndarray()
        done += part.samples


def _encode(parts: Iterable[tuple[int, np.ndarray]], track, total: int) -> Iterator:
    """Encode samples `[channels, n]`, each with the number of its first one, until there are `total`."""
    rate, layout = track.codec_context.sample_rate, track.codec_context.layout.name
    fifo, done = av.AudioFifo(), 0
    for first, samples in _with_silence(parts, rate, total):
        samples = samples[:, max(0, -first) :][:, : total - done]
        if samples.shape[1]:
            fifo.write(_audio_frame(samples, layout, rate, done))
            done += samples.shape[1]
        while chunk := fifo.read(track.codec_context.frame_size or 1024):
            yield from track.encode(chunk)
        if done >= total:
            break
    if chunk := fifo.read(0, partial=True):
        yield from track.encode(chunk)
    yield from track.encode(None)


def _with_silence(parts: Iterable[tuple[int, np.ndarray]], rate: int, total: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the parts, and before each the silence of a gap up to `total`, a second at a time, as gaps may be years."""
    end = 0
    for first, samples in parts:
        while end < min(first, total):
            length = min(rate, first - end, total - end)
            yield end, np.zeros((len(samples), length), np.float32)
            end += length
        yield first, samples
        end = max(end, first + samples.shape[1])


def _audio_frame(samples: np.ndarray, layout: str, rate: int, first: int):
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
    return frame


def _encoded_rate(rate: int) -> int:
    return rate if rate in ENCODED_RATES else ENCODED_RATES[0]
