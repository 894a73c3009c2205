"""Reading and writing pictures, folders, videos and keypoint files, broken ones included."""

import contextlib
import errno
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.media import (
    contact_sheet,
    describe_crop,
    fit,
    fitted_size,
    read_frames,
    read_picture,
    size_of_area,
    write_animation,
    write_json,
    write_picture,
)
from magicdance_core.media.fit import crop_box
from magicdance_core.media.panels import blank_sheet
from magicdance_core.pose import frames_from_pose_keypoint
from magicdance_core.pose.keypoint_files import save_keypoints
from magicdance_core.pose.maps import read_poses

RED, GREEN, BLUE = (220, 30, 40), (30, 200, 60), (20, 50, 210)


def picture(width=24, height=16, left=RED, right=BLUE):
    image = Image.new("RGB", (width, height), left)
    image.paste(right, (width // 2, 0, width, height))
    return image


def clip(count=5, width=24, height=16):
    """Return frames whose left half gets brighter."""
    return [picture(width, height, (40 * i, 40 * i, 40 * i)) for i in range(count)]


def save(path, frames, fps=10):
    with write_animation(path, fps) as add:
        for frame in frames:
            add(frame)
    return path


def close(image, colour, tolerance=8):
    return np.abs(np.asarray(image, float).reshape(-1, 3).mean(0) - colour).max() < tolerance


# Pictures


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    picture().save(tmp_path / "a.png", exif=exif)
    image = read_picture(tmp_path / "a.png")
    assert image.size == (16, 24) and image.getpixel((8, 2)) == RED and image.getpixel((8, 22)) == BLUE


@pytest.mark.parametrize("grey", [Image.new("L", (4, 4), 128), Image.fromarray(np.full((4, 4), 0x8040, np.uint16))])
def test_grey_of_8_and_16_bits(tmp_path, grey):
    grey.save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").getpixel((1, 1)) == (128, 128, 128)


@pytest.mark.parametrize("content", [b"", b"not a picture", "truncated"])
def test_other_files_are_refused_as_pictures(tmp_path, content):
    path = tmp_path / "a.png"
    if content == "truncated":
        Image.effect_noise((64, 64), 50).save(path)
        content = path.read_bytes()[:300]
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.png cannot be read as a picture"):
        read_picture(path)


def test_missing_files_and_folders_are_refused_as_pictures(tmp_path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InputError, match=path.name):
            read_picture(path)


# Folders


def test_folder_is_sorted_by_number_and_ignores_other_files(tmp_path):
    for number in (10, 9, 100):
        picture(left=(number, 0, 0)).save(tmp_path / f"frame{number}.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    frames = read_frames(tmp_path)
    assert frames.names == ("frame9", "frame10", "frame100") and frames.count == 3
    assert [frame.getpixel((0, 0))[0] for frame in frames] == [9, 10, 100]
    assert len(list(frames)) == 3  # a second time


def test_folder_without_pictures_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no pictures"):
        read_frames(tmp_path)


def test_folder_with_a_broken_picture_names_it(tmp_path):
    picture().save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="2.png"):
        list(read_frames(tmp_path))


# Videos and animations


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".gif", ".webp", ".png"])
def test_written_frames_are_read_back(tmp_path, suffix):
    frames = read_frames(save(tmp_path / f"a{suffix}", clip()))
    shown = list(frames)
    assert len(shown) == 5 and frames.fps == pytest.approx(10)
    for i, frame in enumerate(shown):
        assert frame.size == (24, 16) and frame.mode == "RGB"
        assert close(frame.crop((0, 0, 10, 16)), (40 * i,) * 3) and close(frame.crop((14, 0, 24, 16)), BLUE)
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_odd_sizes_are_padded_by_repeating_the_edge(tmp_path):
    frame = next(iter(read_frames(save(tmp_path / "a.mp4", clip(2, 23, 15)))))
    assert frame.size == (24, 16) and close(frame.crop((23, 0, 24, 16)), BLUE)


def test_video_rotation_is_applied(tmp_path):
    path = save(tmp_path / "a.mp4", [picture(32, 16)] * 2)
    upright, clockwise = (struct.pack(">9i", *m) for m in (
        (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), (0, 65536, 0, -65536, 0, 0, 16 << 16, 0, 1 << 30)))  # fmt: skip
    header, track = path.read_bytes().split(b"tkhd", 1)
    assert upright in track
    path.write_bytes(header + b"tkhd" + track.replace(upright, clockwise, 1))
    frame = next(iter(read_frames(path)))
    assert frame.size == (16, 32)
    assert close(frame.crop((0, 0, 16, 14)), RED) and close(frame.crop((0, 18, 16, 32)), BLUE)


def test_audio_without_video_is_refused(tmp_path):
    import av

    path = tmp_path / "a.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
    with pytest.raises(InputError, match="no picture track"):
        read_frames(path)


@pytest.mark.parametrize("content", [b"", b"not a video" * 50, "truncated"])
def test_other_files_are_refused_as_videos(tmp_path, content):
    path = tmp_path / "a.mp4"
    if content == "truncated":
        content = save(path, clip()).read_bytes()[:700]
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.mp4"):
        list(read_frames(path))


def test_gif_colours_do_not_flicker(tmp_path):
    shown = [np.asarray(f)[:, 14:] for f in read_frames(save(tmp_path / "a.gif", clip()))]
    assert all((frame == shown[0]).all() for frame in shown)


def test_gif_has_the_requested_duration(tmp_path):
    with Image.open(save(tmp_path / "a.gif", clip(6), fps=30)) as image:
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
    assert sum(durations) == 200 and set(durations) == {30, 40}


# Keypoints


def keypoint_frame(x):
    body = [0.0] * 54
    body[0:3], body[3:6] = [x, 20, 1], [x, 40, 1]
    return {"people": [{"pose_keypoints_2d": body}], "canvas_width": 64, "canvas_height": 96}


def test_keypoints_of_one_file_and_of_a_folder_are_drawn(tmp_path):
    frames = [keypoint_frame(x) for x in (10, 30)]
    write_json(tmp_path / "poses.json", frames)
    for i, frame in enumerate(frames):
        write_json(tmp_path / "folder" / f"{i}.json", frame)
    drawn, single = read_poses(tmp_path / "poses.json"), read_poses(tmp_path / "folder")
    save_keypoints(tmp_path / "poses.npz", frames_from_pose_keypoint(frames))
    archived = read_poses(tmp_path / "poses.npz")
    assert drawn.count == single.count == archived.count == 2
    for a, b, c in zip(drawn, single, archived):
        assert a.size == (64, 96) and a.getbbox() and a.tobytes() == b.tobytes() == c.tobytes()


@pytest.mark.parametrize(
    "content, message",
    [("[]", "no pose frames"), ("{", "not JSON"), ("[3]", "Frame 0 .* int"), ('{"people": []}', "width and height")],
)
def test_other_json_is_refused_as_keypoints(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_poses(tmp_path / "a.json")


# Fitting


def test_square_is_the_published_crop_and_resize():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (108, 61, 3), np.uint8))
    published = image.crop((0, 23, 61, 84)).resize((32, 32), Image.Resampling.BILINEAR)
    assert fit(image, 32, 32).tobytes() == published.tobytes()


def test_fitted_size_keeps_or_squares_the_aspect():
    assert fitted_size(604, 1080, 512, 64, keep_aspect=False) == (512, 512)
    assert fitted_size(604, 1080, 512, 64, keep_aspect=True) == (512, 896)
    assert fitted_size(1080, 604, 512, 64, keep_aspect=True) == (896, 512)
    with pytest.raises(InputError, match="multiple of 64"):
        fitted_size(604, 1080, 500, 64, keep_aspect=True)


@pytest.mark.parametrize(
    "size, made",
    [((604, 1080), (384, 704)), ((1080, 604), (704, 384)), ((900, 900), (512, 512)), ((100, 3000), (64, 2816))],
)
def test_size_of_area_keeps_area_and_aspect(size, made):
    assert size_of_area(*size, 512, 64) == made and abs(made[0] * made[1] / 512**2 - 1) < 0.4


def test_size_of_area_refuses_extreme_aspects():
    with pytest.raises(InputError, match="too narrow"):
        size_of_area(1, 1000, 512, 64)
    with pytest.raises(InputError, match="too large"):
        fitted_size(1, 1000, 512, 64, keep_aspect=True)
    with pytest.raises(InputError, match="too large"):
        fitted_size(4, 4, 64_000, 64, keep_aspect=False)


@pytest.mark.parametrize(
    "around, box",
    [
        (None, (0, 20, 60, 80)),
        ((0.2, 0.3, 0.8, 0.7), (0, 20, 60, 80)),  # it is there already
        ((0.2, 0.1, 0.8, 0.6), (0, 10, 60, 70)),
        ((0.2, 0.5, 0.8, 0.95), (0, 35, 60, 95)),
        ((0.2, 0.1, 0.8, 0.9), (0, 10, 60, 70)),  # not all of it fits: the head does
        ((0.2, -0.5, 0.8, 1.5), (0, 0, 60, 60)),
    ],
)
def test_the_crop_contains_the_person(around, box):
    assert crop_box((60, 100), (32, 32), around) == box


def test_the_middle_of_a_person_who_is_too_wide_is_kept():
    assert crop_box((100, 60), (32, 32), (0.1, 0.2, 1.0, 0.8)) == (25, 0, 85, 60)
    assert crop_box((100, 60), (32, 32), (0.0, 0.2, 0.4, 0.8)) == (0, 0, 60, 60)


def test_crop_is_described():
    assert describe_crop("poses", (64, 64), (32, 32)) == ""
    assert describe_crop("poses", (60, 100), (32, 32)) == "poses of 60 x 100 pixels cropped by 20 top, 20 bottom"


def test_box_around_people(tmp_path):
    frames = [keypoint_frame(x) for x in (20, 30)]
    write_json(tmp_path / "poses.json", frames)
    for i, drawn in enumerate(read_poses(tmp_path / "poses.json")):
        write_picture(tmp_path / "maps" / f"{i}.png", drawn)
    known, seen = (read_poses(tmp_path / name).people_box() for name in ("poses.json", "maps"))
    assert known == pytest.approx((20 / 64, 18 / 96, 30 / 64, 40 / 96), abs=0.02)
    assert seen == pytest.approx(known, abs=0.04)
    for name in ("a", "b"):
        write_picture(tmp_path / "black" / f"{name}.png", Image.new("RGB", (64, 96), (9, 9, 9)))
    with pytest.raises(InputError, match="has no pose: all of its 2 frames are black"):
        read_poses(tmp_path / "black")


def test_keeping_the_aspect_crops_a_little_from_the_centre():
    image = fit(picture(100, 60), 96, 64)
    assert image.size == (96, 64) and image.getpixel((46, 10)) == RED and image.getpixel((50, 10)) == BLUE


# Writing


@contextlib.contextmanager
def no_room():
    """Limit file sizes to 1000 bytes. Not a fixture, as pytest's log may be a file."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.mp4", "a.mkv"])
def test_a_full_disk_leaves_no_half_file_and_keeps_the_old_one(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")
    noise = [Image.effect_noise((64, 64), 90).convert("RGB") for _ in range(20)]
    with no_room(), pytest.raises(InputError, match=f"Cannot write .*{name}: File too large"):
        save(tmp_path / name, noise)
    assert os.listdir(tmp_path) == [name] and (tmp_path / name).read_bytes() == b"old"


def test_a_full_disk_leaves_no_picture(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="Cannot write .*a.png: No space left"):
        write_picture(tmp_path / "a.png", picture())
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.png"])
def test_an_error_while_frames_are_made_leaves_nothing_behind(tmp_path, name):
    with pytest.raises(KeyboardInterrupt), write_animation(tmp_path / name, 10) as add:
        add(picture())
        raise KeyboardInterrupt
    assert not os.listdir(tmp_path)


def test_unwritable_paths_are_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder.gif").mkdir()
    for path in (tmp_path / "file" / "a.gif", tmp_path / "folder.gif"):
        with pytest.raises(InputError, match="Cannot write"), write_animation(path, 10):
            pytest.fail("the block was entered")


def test_wrong_suffixes_and_rates_are_refused(tmp_path):
    with pytest.raises(InputError, match="suffix"), write_animation(tmp_path / "a.xyz", 10):
        pass
    with pytest.raises(InputError, match="frame rate is 0"), write_animation(tmp_path / "a.gif", 0):
        pass
    for name in ("a.gif", "a.mp4"):
        with pytest.raises(InputError, match="no frames"), write_animation(tmp_path / name, 10):
            pass
    assert not os.listdir(tmp_path)


def test_json_is_written(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"a": 1})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"a": 1}


def test_contact_sheet_has_a_panel_for_each_picture():
    sheet = contact_sheet([[picture(8, 8), picture(8, 8, GREEN, GREEN)]] * 2, ("a", "b"), panel=32)
    assert sheet.width > 64 and sheet.height > 64
    pixels = np.asarray(sheet).reshape(-1, 3)
    assert (pixels == GREEN).all(1).sum() == 2 * 32 * 32


def test_blank_sheet_has_even_sides_and_captions_that_fit():
    sheet, lefts, tops = blank_sheet([31, 64], [40, 21], ["a very long caption"])
    assert sheet.width % 2 == sheet.height % 2 == 0 and len(lefts) == len(tops) == 2
    assert lefts[1] - lefts[0] - 31 == tops[1] - tops[0] - 40 == lefts[0]
    pixels = np.asarray(sheet)[: tops[0]]
    drawn = np.flatnonzero((pixels != pixels[0, 0]).any((0, 2)))
    assert 0 < drawn.min() and drawn.max() < lefts[1]  # beside its neighbours, not over them
    assert blank_sheet([32], [32], [])[2] == [lefts[0]]
