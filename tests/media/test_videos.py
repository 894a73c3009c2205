"""Videos as they really are: display matrices, pixel shapes, tracks, containers, names."""

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from bug_reports import CASES, has_cases
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.media import read_frames, write_animation
from magicdance_core.media.resampling import ResampledFrames


def corner(width=64, height=32):
    """A picture whose top left quarter is white, and top right one grey."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2], picture[: height // 2, width // 2 :] = 250, 120
    return picture


def write(path, codec="libx264", pix_fmt="yuv420p", picture=None, count=4, rate=25, ratio=None, options=None, **kind):
    picture = corner() if picture is None else picture
    with av.open(str(path), "w", **kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], pix_fmt
        stream.options = options or {}
        if ratio:
            stream.codec_context.sample_aspect_ratio = ratio
        for _ in range(count):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            container.mux(stream.encode(frame.reformat(format=pix_fmt)))
        container.mux(stream.encode())
    return path


MATRICES = {  # a, b, c, d -> what is shown
    (1, 0, 0, 1): lambda p: p,
    (-1, 0, 0, 1): lambda p: p[:, ::-1],
    (1, 0, 0, -1): lambda p: p[::-1],
    (-1, 0, 0, -1): lambda p: p[::-1, ::-1],
    (0, 1, -1, 0): lambda p: np.rot90(p, -1),
    (0, -1, 1, 0): lambda p: np.rot90(p, 1),
    (0, 1, 1, 0): lambda p: p.swapaxes(0, 1),
    (0, -1, -1, 0): lambda p: np.rot90(p, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", MATRICES)
def test_display_matrices_turn_and_mirror(tmp_path, matrix):
    path = write(tmp_path / "a.mp4")
    a, b, c, d = (65536 * value for value in matrix)
    upright = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
    header, track = path.read_bytes().split(b"tkhd", 1)
    assert upright in track
    path.write_bytes(header + b"tkhd" + track.replace(upright, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30), 1))
    shown, wanted = np.asarray(next(iter(read_frames(path)))), MATRICES[matrix](corner())
    assert shown.shape == wanted.shape and np.abs(shown.astype(int) - wanted).mean() < 6
    assert np.array_equal(next(iter(ResampledFrames(path))), shown)


@has_cases
def test_the_mirrored_video_of_a_bug_report_is_mirrored():
    with av.open(str(CASES / "m_hflip.mp4")) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    shown = np.asarray(next(iter(read_frames(CASES / "m_hflip.mp4")))).astype(int)
    assert np.abs(shown - stored[:, ::-1]).mean() < 1 < np.abs(shown - stored).mean()


@pytest.mark.parametrize(
    "ratio, size",
    [
        (Fraction(2), (128, 32)),
        (Fraction(1, 2), (64, 64)),
        (Fraction(64, 45), (91, 32)),
        (Fraction(801, 800), (64, 32)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_pixels_become_square(tmp_path, suffix, ratio, size):
    path = write(tmp_path / f"a.{suffix}", ratio=ratio)
    assert next(iter(read_frames(path))).size == size == next(iter(ResampledFrames(path))).shape[1::-1]


def test_the_default_track_counts(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        tracks = [container.add_stream("libx264", rate=10) for _ in range(2)]
        for track in tracks:
            track.width, track.height, track.pix_fmt = 32, 32, "yuv420p"
        tracks[0].disposition, tracks[1].disposition = 0, av.stream.Disposition.default
        for track, shade in zip(tracks, (20, 200)):
            for _ in range(3):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
                container.mux(track.encode(frame.reformat(format="yuv420p")))
            container.mux(track.encode())
    assert np.asarray(next(iter(read_frames(path)))).mean() == pytest.approx(200, abs=4)


@pytest.mark.parametrize(
    "name, codec, pix_fmt",
    [
        ("a.mxf", "mpeg2video", "yuv420p"), ("a.y4m", "rawvideo", "yuv420p"), ("a.mjpeg", "mjpeg", "yuvj420p"),
        ("a.3gp", "libx264", "yuv420p"), ("a.ts", "libx264", "yuv420p"), ("a.mts", "libx264", "yuv420p"),
        ("a.nut", "libx264", "yuv420p"), ("a.avi", "mpeg4", "yuv420p"), ("a.flv", "flv", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"), ("a.ogv", "libtheora", "yuv420p"), ("a.wmv", "wmv2", "yuv420p"),
        ("a.mpg", "mpeg2video", "yuv420p"), ("a.vob", "mpeg2video", "yuv420p"), ("a.MOV", "mjpeg", "yuvj420p"),
    ],
)  # fmt: skip
def test_containers_of_other_software_are_read(tmp_path, name, codec, pix_fmt):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    options = {} if name != "a.y4m" else {"format": "yuv4mpegpipe"}
    codec = "wrapped_avframe" if name == "a.y4m" else codec
    try:
        path = write(tmp_path / name, codec, pix_fmt, corner(64, 48), count=10, **options)
    except (av.FFmpegError, ValueError, NotImplementedError) as error:
        pytest.skip(f"this PyAV cannot write {name}: {error}")
    frames = read_frames(path)
    assert frames.fps == pytest.approx(25, rel=0.01) and len(list(frames)) == 10
    assert np.abs(np.asarray(next(iter(frames)), int) - corner(64, 48)).mean() < 12


def test_raw_yuv4mpeg_and_dv_are_videos(tmp_path):
    plane = bytes([200]) * 32 * 16 + bytes([128]) * 2 * 16 * 8
    (tmp_path / "a.y4m").write_bytes(b"YUV4MPEG2 W32 H16 F24:1 Ip A1:1 C420jpeg\n" + (b"FRAME\n" + plane) * 5)
    frames = read_frames(tmp_path / "a.y4m")
    assert (frames.fps, len(list(frames)), next(iter(frames)).size) == (24, 5, (32, 16))
    write(tmp_path / "a.dv", "dvvideo", "yuv420p", np.zeros((576, 720, 3), np.uint8), count=3)
    frames = read_frames(tmp_path / "a.dv")
    assert (frames.fps, len(list(frames))) == (25, 3)


def test_cover_pictures_of_music_are_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44100)
        cover = container.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 16, 16, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")))
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1152), np.float32), format="fltp", layout="stereo")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(InputError, match="no picture track"):
        read_frames(tmp_path / "a.mp3")


def test_transparent_videos_are_filled_with_a_colour(tmp_path):
    picture = np.zeros((32, 32, 4), np.uint8)
    picture[..., 0] = 200
    write(tmp_path / "a.mov", "qtrle", "argb", picture)
    assert np.asarray(next(iter(read_frames(tmp_path / "a.mov")))).min() == 255
    assert np.asarray(next(iter(read_frames(tmp_path / "a.mov", (0, 0, 9))))).max() == 9


@pytest.mark.parametrize("name", ["2024-05-01T10:20:30.mp4", "http:x.mkv", "concat:a|b.gif", "file:x.mov", "%d:1.mp4"])
def test_names_with_colons_are_files(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with write_animation(name, 10) as add:
        for shade in (0, 90, 180):
            add(Image.new("RGB", (32, 32), (shade,) * 3))
    assert os.listdir() == [name] and len(list(read_frames(name))) == 3
    assert len(list(ResampledFrames(Path(name), 10))) == 3
