"""Sound that is carried over from a driving video."""

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from sound_videos import FPS, RATE, write_source

from magicdance_core import InputError
from magicdance_core.media import read_frames, write_animation
from magicdance_core.media.audio import add_audio, add_samples, extract_audio, read_audio


def write_silent(path, frames):
    with write_animation(path, FPS) as add:
        for number in range(frames):
            add(Image.new("RGB", (16, 16), (number, 0, 0)))
    return path


def tone_times(path):
    """Return codec, and the first and last second at which there is a tone."""
    with av.open(str(path)) as file:
        (audio,) = file.streams.audio
        loud = [
            float(frame.time) + k / frame.sample_rate
            for frame in file.decode(audio)
            for k in np.flatnonzero(np.abs(frame.to_ndarray().reshape(-1, frame.samples)).max(0) > 0.2)
        ]
        return audio.codec_context.name, loud[0], loud[-1]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_copied_where_the_container_takes_it(tmp_path, suffix):
    source, silent = write_source(tmp_path / "source.mp4", "mp4", "aac"), write_silent(tmp_path / "silent.mp4", 20)
    video = tmp_path / f"out{suffix}"
    assert add_audio(video, silent, source, start=0.5) == "copied"
    codec, first, last = tone_times(video)
    assert codec == "aac" and first == pytest.approx(0.5, abs=0.08) and last == pytest.approx(1.0, abs=0.08)
    with av.open(str(video)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20 and file.streams.video[0].average_rate == FPS
        assert float(file.duration / av.time_base) == pytest.approx(2.0, abs=0.13)  # two AAC frames: last, and delay


def test_other_sound_is_encoded_and_cut_to_the_sample(tmp_path):
    source, silent = (
        write_source(tmp_path / "source.mkv", "matroska", "flac"),
        write_silent(tmp_path / "silent.mp4", 12),
    )
    video = tmp_path / "out.mp4"
    assert add_audio(video, silent, source, start=0.75) == "encoded"
    codec, first, last = tone_times(video)
    assert codec == "aac" and first == pytest.approx(0.25, abs=0.05) and last == pytest.approx(0.75, abs=0.05)
    with av.open(str(video)) as file:
        assert float(file.streams.audio[0].duration * file.streams.audio[0].time_base) == pytest.approx(1.2, abs=0.1)


def test_a_source_without_sound_leaves_the_pictures(tmp_path):
    source, video = write_silent(tmp_path / "source.mp4", 8), tmp_path / "out.mp4"
    assert add_audio(video, source, source) == ""
    with av.open(str(video)) as file:
        assert not file.streams.audio and sum(1 for _ in file.decode(video=0)) == 8
    assert extract_audio(tmp_path / "audio.m4a", source, 0, 1) == "" and not (tmp_path / "audio.m4a").exists()


def test_sound_alone_is_written_beside_frames(tmp_path):
    source = write_source(tmp_path / "source.mp4", "mp4", "aac")
    assert extract_audio(tmp_path / "audio.m4a", source, 0.5, 2.0) == "copied"
    _, first, _ = tone_times(tmp_path / "audio.m4a")
    assert first == pytest.approx(0.5, abs=0.08)


def test_a_damaged_source_is_refused(tmp_path):
    (tmp_path / "source.mp4").write_bytes(b"no video" * 100)
    silent = write_silent(tmp_path / "silent.mp4", 3)
    with pytest.raises(InputError, match="cannot be read as a video"):
        add_audio(tmp_path / "out.mp4", silent, tmp_path / "source.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["silent.mp4", "source.mp4"]


@pytest.fixture
def gap(tmp_path):
    """A video whose sound of half a second goes on after thirty hours."""
    with av.open(str(tmp_path / "gap.mkv"), "w", format="matroska") as out:
        video = out.add_stream("mpeg4", rate=FPS)
        video.width = video.height = 32
        audio = out.add_stream("pcm_s16le", rate=RATE)
        audio.layout = "mono"
        for _ in range(8):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        for start in (0, 30 * 3600 * RATE):
            frame = av.AudioFrame.from_ndarray(np.full((1, RATE // 2), 9999, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            out.mux(audio.encode(frame))
        out.mux([*video.encode(None), *audio.encode(None)])
    return tmp_path / "gap.mkv"


def test_a_gap_of_hours_takes_no_memory(gap, tmp_path):
    with pytest.raises(InputError, match="takes over 2.1 GB: use a shorter video"):
        read_audio(gap)
    silent, video = write_silent(tmp_path / "silent.mp4", 8), tmp_path / "out.mp4"
    tracemalloc.start()
    assert add_audio(video, silent, gap) == "encoded"
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    with av.open(str(video)) as file:
        assert float(file.streams.audio[0].duration * file.streams.audio[0].time_base) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("codec", [b"V_MPEG4", b"A_AAC"])
def test_a_track_that_nothing_can_decode_is_told(tmp_path, codec):
    source, silent = write_source(tmp_path / "a.mkv", "matroska", "aac"), write_silent(tmp_path / "silent.mp4", 3)
    source.write_bytes(source.read_bytes().replace(codec, codec[:2] + b"z" * (len(codec) - 2)))
    with pytest.raises(InputError, match=r"cannot be read \(.*\): use|unknown format: convert it to H.264"):
        if codec[:1] == b"V":
            list(read_frames(source))
        read_audio(source)
    with pytest.raises(InputError, match=r"cannot be read \(.*\): use --no-audio"):
        add_audio(tmp_path / "out.mp4", silent, source)
    assert not list(tmp_path.glob("*out*"))


def test_sound_is_read_from_the_first_frame_on(tmp_path):
    samples, rate = read_audio(write_source(tmp_path / "source.mp4", "mp4", "aac", seconds=2.0, beep=0.5))
    loud = np.flatnonzero(np.abs(samples[0]) > 0.2) / rate
    assert samples.shape[0] == 1 and samples.shape[1] / rate == pytest.approx(2.0, abs=0.1)
    assert loud[0] == pytest.approx(0.5, abs=0.08) and loud[-1] == pytest.approx(1.0, abs=0.08)
    assert read_audio(write_silent(tmp_path / "silent.mp4", 3)) is None


@pytest.mark.parametrize("suffix, rate, channels", [(".mp4", 44_100, 2), (".mov", 22_050, 1), (".mkv", 96_000, 2)])
def test_samples_become_the_sound_of_a_video(tmp_path, suffix, rate, channels):
    silent, video = write_silent(tmp_path / "silent.mp4", 20), tmp_path / f"out{suffix}"
    samples = np.zeros((channels, 3 * rate), np.float32)
    tone = slice(round(0.5 * rate), rate)
    samples[:, tone] = np.sin(np.arange(tone.stop - tone.start) * 2 * np.pi * 440 / rate)
    add_samples(video, silent, samples, rate)
    codec, first, last = tone_times(video)
    assert codec == "aac" and first == pytest.approx(0.5, abs=0.05) and last == pytest.approx(1.0, abs=0.05)
    with av.open(str(video)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 20
        assert float(file.duration / av.time_base) == pytest.approx(2.0, abs=0.1)
