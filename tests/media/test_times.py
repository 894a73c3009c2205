"""Frames are read back with their number, their times and their rate, whatever wrote them."""

from fractions import Fraction

import av
import numpy as np
import pytest
from bug_reports import CASES, has_cases
from PIL import Image

from magicdance_core.media import read_frames, write_animation
from magicdance_core.media.resampling import ResampledFrames
from magicdance_core.media.timing import animation_pace, video_pace


def grey(level, width=32, height=32):
    return Image.new("RGB", (width, height), (level,) * 3)


def levels(pictures):
    return [None if picture is None else round(float(np.asarray(picture).mean())) for picture in pictures]


def write_timed(path, shades, times, last=1 / 30, rate=30, unit=Fraction(1, 1000), codec="libx264", **options):
    """Write a video whose frames begin at the given seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = unit
        stream.options = {"bf": "0", **options} if codec == "libx264" else options
        lengths = {}

        def mux(packets):
            for packet in packets:
                packet.duration = lengths[packet.pts]  # which encoders drop
                container.mux(packet)

        for shade, start, end in zip(shades, times, [*times[1:], times[-1] + last]):
            frame = av.VideoFrame.from_ndarray(np.asarray(grey(shade, 64, 64)), format="rgb24")
            frame.time_base, frame.pts, frame.duration = unit, round(start / unit), round((end - start) / unit)
            lengths[frame.pts] = frame.duration
            mux(stream.encode(frame))
        mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng", ".mp4", ".mkv"])
@pytest.mark.parametrize("fps", [30, 24, 15, 12, 25, 30000 / 1001])
def test_what_was_written_is_read_back_with_frames_and_rate(tmp_path, suffix, fps):
    shades = [0, 40, 80, 80, 120, 160, 200, 240]
    shades += shades[::-1]  # a palindrome has two equal frames in its middle, which writers join
    path = tmp_path / f"a{suffix.replace('.apng', '.png')}"
    with write_animation(path, fps) as add:
        for shade in shades:
            add(grey(shade))
    path = path.rename(tmp_path / f"b{suffix}")
    frames = read_frames(path)
    rate = 30 if suffix == ".gif" and fps < 30 < fps + 1 else fps  # hundredths of a second cannot tell 29.97
    assert frames.fps == pytest.approx(rate, abs=0.001) and frames.count == len(shades)
    assert levels(frames) == pytest.approx(shades, abs=4)
    assert levels(ResampledFrames(path, fps)) == pytest.approx(shades, abs=4)


def write_gif(path, shades, durations):
    frames = [grey(shade) for shade in shades]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path


def test_each_frame_of_an_animation_has_its_own_duration(tmp_path):
    for path in (write_gif(tmp_path / "a.gif", range(0, 250, 25), [1000] + [40] * 9), CASES / "var_first.gif"):
        if path.exists():  # the second one is not everywhere
            frames = read_frames(path)
            assert (frames.fps, frames.count) == (25, 34) and frames.count / frames.fps == 1.36
            shown = list(map(np.asarray, frames))
            assert all((picture == shown[0]).all() for picture in shown[:25])
            assert all((one != two).any() for one, two in zip(shown[24:33], shown[25:]))
            assert len(list(ResampledFrames(path, 30))) == 41


def test_durations_that_browsers_do_not_show_are_read_as_in_browsers(tmp_path):
    path = write_gif(tmp_path / "a.gif", (0, 80, 160), 50)
    content = path.read_bytes()
    assert content.count(b"\x05\x00") >= 3
    path.write_bytes(content.replace(b"\x21\xf9\x04\x00\x05\x00", b"\x21\xf9\x04\x00\x00\x00"))
    assert read_frames(path).fps in (10, 20)  # Pillow may write other flags, then nothing was replaced


@pytest.mark.parametrize(
    "durations, unit, fps, repeats",
    [
        ([30, 40, 30, 30, 40, 30], 10, 30, (1,) * 6),
        ([30, 40, 60, 40, 30], 10, 30, (1, 1, 2, 1, 1)),
        ([33, 34, 33, 67, 33], 1, 30, (1, 1, 1, 2, 1)),
        ([70, 70, 70], 10, 1000 / 70, (1, 1, 1)),
        ([100, 500, 100], 10, 10, (1, 5, 1)),
        ([60_000, 60_000], 10, 1 / 60, (1, 1)),
    ],
)
def test_the_rate_of_an_animation_comes_from_the_whole(durations, unit, fps, repeats):
    pace = animation_pace(durations, unit)
    assert pace.fps == pytest.approx(fps) and pace.repeats == repeats


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60, 30000 / 1001, 7.3])
@pytest.mark.parametrize("unit", [1e-6, 1e-3])
def test_the_rate_of_a_video_is_that_of_its_times(fps, unit):
    times = [round(k / fps / unit) * unit for k in range(90)]
    assert video_pace(times, times[-1] + round(1 / fps, 3)).fps == pytest.approx(fps, rel=2e-4)


@has_cases
def test_a_header_with_another_rate_is_not_believed():
    frames = read_frames(CASES / "mediarec.webm")
    assert frames.fps == pytest.approx(32, abs=1) and frames.count == len(list(frames)) == 48
    assert len(list(ResampledFrames(CASES / "mediarec.webm", 30))) in (45, 46)


@pytest.mark.parametrize("claimed", [1000, 5, 240])
def test_a_rate_that_the_header_claims_wrongly_is_not_believed(tmp_path, claimed):
    path = write_timed(tmp_path / "a.mkv", range(0, 240, 8), [k / 25 for k in range(30)], 0.04, rate=claimed)
    frames = read_frames(path)
    assert frames.fps == 25 and frames.count == 30 and len(list(ResampledFrames(path, 50))) == 60


def test_a_held_picture_is_shown_until_the_next_one(tmp_path):
    times = [0, 1 / 30, 2 / 30, 0.1, 1.5, 1.5 + 1 / 30, 1.6]
    path = write_timed(tmp_path / "a.mp4", range(20, 230, 30), times, unit=Fraction(1, 600))
    shown = levels(ResampledFrames(path, 30))
    assert len(shown) == 49 and None not in shown and shown[3:45] == pytest.approx([110] * 42, abs=4)
    frames = read_frames(path)
    assert (frames.fps, frames.count) == (30, 49) and levels(frames) == shown


@has_cases
def test_nobody_vanishes_while_a_screen_recording_stands_still():
    pictures = ResampledFrames(CASES / "static.mp4", 30)
    shown = list(pictures)
    assert len(shown) == 49 and not any(picture is None for picture in shown) and pictures.damaged == 0


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_the_duration_of_the_last_picture_counts(tmp_path, suffix):
    path = write_timed(tmp_path / f"a.{suffix}", (20, 120, 220), (0, 0.1, 0.2), 1.0)
    shown = levels(ResampledFrames(path, 10))
    assert shown == pytest.approx([20, 120] + [220] * 10, abs=4)


def test_times_that_begin_anew_go_on(tmp_path):
    for name, shades in (("a", range(0, 100, 10)), ("b", range(100, 200, 10))):
        write_timed(tmp_path / f"{name}.ts", shades, [k / 30 for k in range(10)], unit=Fraction(1, 90000), g="1")
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() * 8 + (tmp_path / "b.ts").read_bytes())
    shown = levels(ResampledFrames(joined, 30))
    assert shown[:10] == pytest.approx(range(0, 100, 10), abs=4) and shown[-1] == pytest.approx(190, abs=4)
