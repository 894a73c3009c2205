"""What comes from outside is measured before any work or memory goes into it."""

import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from magicdance_core import limits
from magicdance_core.errors import InputError
from magicdance_core.limits import check_fps, check_size
from magicdance_core.media import pictures, read_frames, read_picture, write_animation
from magicdance_core.media.resampling import ResampledFrames, resample
from magicdance_core.media.timing import Timed
from magicdance_core.pose import Person, PoseFrame, draw_pose, frames_from_pose_keypoint, keypoint_files
from magicdance_core.pose.keypoint_files import load_archive, load_keypoints
from magicdance_core.pose.maps import read_poses

BODY = [10.0, 20.0, 1.0] * 18


def frame(width=64, height=64, people=1, body=BODY):
    return {"people": [{"pose_keypoints_2d": body}] * people, "canvas_width": width, "canvas_height": height}


def arrays(**changes):
    whole = {
        "points": np.ones((1, 136, 3), np.float32), "identities": np.array([-1]), "people": np.array([1]),
        "sizes": np.array([[64, 64]]),
    }  # fmt: skip
    return whole | changes


# Numbers


@pytest.mark.parametrize("size", [(0, 4), (-1, 4), (40_000, 1), (9000, 9000), (1e20, 4), (float("nan"), 4), ("4", 4)])
def test_sizes_that_are_none(size):
    with pytest.raises(InputError, match="The picture"):
        check_size(*size, "The picture")


@pytest.mark.parametrize("fps", [0, -1, 1e300, float("nan"), float("inf"), "30", None, True, 1e-300])
def test_rates_that_are_none(fps, tmp_path):
    with pytest.raises(InputError):
        check_fps(fps)
    with pytest.raises(InputError), write_animation(tmp_path / "a.gif", fps):
        pytest.fail("the block was entered")
    assert not os.listdir(tmp_path)


def test_numbers_of_numpy_will_do():
    assert check_size(np.int64(4), np.uint8(5), "x") == (4, 5) and check_fps(np.float32(25)) == 25


# Canvases and people


@pytest.mark.parametrize(
    "entry",
    [
        frame(30_000, 30_000), frame(1e20, 1e20), frame(float("inf")), frame(float("nan")), frame("wide"), frame(0),
        frame(people=100_000), frame(body=[1e9, 1e9, 1] * 18), frame(body=[1e300, 1e300, 1] * 18),
        frame(body=[10**400, 1, 1] * 18), frame(body=[[1], [2, 3]]), frame(body={"a": 1}), frame(body="x" * 54),
    ],
)  # fmt: skip
def test_pose_frames_beyond_bounds(entry):
    with pytest.raises(InputError, match="[Ff]rame 0"):
        frames_from_pose_keypoint([entry])


def test_what_is_not_finite_is_missing():
    (made,) = frames_from_pose_keypoint(frame(body=[float("inf"), 1, 1, float("nan"), 1, 1, *BODY[6:]]))
    assert made.people[0].body[:, 2].tolist() == [0, 0] + [1] * 16


@pytest.mark.parametrize(
    "arguments", [((), 3.5, 4), (3, 4, 4), ((None,), 4, 4), ((), None, 4), ((Person(),) * 300, 4, 4)]
)
def test_a_frame_of_other_things(arguments):
    with pytest.raises(InputError):
        PoseFrame(*arguments)
    with pytest.raises(InputError, match="body"):
        Person(body="nobody")


def test_maps_that_are_too_large_or_narrow():
    pose = PoseFrame((), 64, 64)
    for size in ((20_000, 20_000), (1, 30_000), (64, "x")):
        with pytest.raises(InputError):
            draw_pose(pose, *size)


# Keypoint files


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[" * 50_000 + "]" * 50_000, '{"people":' * 50_000, '[{"canvas_width": ' + "9" * 5000 + "}]"],
)
def test_json_that_nothing_could_use(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="a.json"):
        load_keypoints(tmp_path / "a.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"people": np.array([2**62] * 4 + [1]), "sizes": np.full((5, 2), 64)},  # whose sum is 1 in 64 bits
        {"people": np.array([-1, 2]), "sizes": np.full((2, 2), 64)},
        {"people": np.array([1.0])},
        {"people": np.array(1), "sizes": np.array([64, 64])},
        {"identities": np.array(-1)},
        {"sizes": np.array([[2**40, 2**40]])},
        {"sizes": np.array([[np.nan, 64]])},
        {"points": np.full((1, 136, 3), np.inf, np.float32)},
        {"points": np.full((1, 136, 3), 1e300)},
        {"points": np.full((1, 136, 3), 1e9, np.float32)},
        {"points": np.zeros((1, 136, 3), complex)},
    ],
)
def test_archives_that_do_not_fit_together(tmp_path, changes):
    np.savez(tmp_path / "a.npz", **arrays(**changes))
    with pytest.raises(InputError, match="a.npz"):
        load_archive(tmp_path / "a.npz")


def test_an_encrypted_archive(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="encrypted"):
        load_archive(tmp_path / "a.npz")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(keypoint_files, "MAX_ARCHIVE_BYTES", 10_000_000)
    np.savez_compressed(tmp_path / "a.npz", **arrays(points=np.zeros((7000, 136, 3), np.float32)))
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("unpacked"))
    with pytest.raises(InputError, match="more than 10 MB"):
        load_archive(tmp_path / "a.npz")


def test_a_header_that_promises_too_much(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as target, target.open("points.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 136, 3)})
    with pytest.raises(InputError, match="b.npz"):
        load_archive(tmp_path / "b.npz")


# Pictures and videos


def test_pictures_beyond_the_limit_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "MAX_SIDE", 50)
    Image.new("L", (60, 1)).save(tmp_path / "a.png")
    Image.new("L", (60, 1)).save(tmp_path / "b.gif", save_all=True, append_images=[Image.new("L", (60, 1), 9)])
    monkeypatch.setattr(pictures, "upright_rgb", lambda *arguments: pytest.fail("decoded"))
    for name in ("a.png", "b.gif"):
        with pytest.raises(InputError, match=f"{name}, a picture of 60 x 1 pixels is too large"):
            read_picture(tmp_path / name)
        with pytest.raises(InputError, match="too large"):
            list(read_frames(tmp_path / name))


def test_a_large_header_is_refused_without_warnings(tmp_path, recwarn):
    Image.new("1", (12_000, 9_000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="too large"):
        read_picture(tmp_path / "a.png")
    assert not recwarn.list


def test_videos_beyond_the_limit(tmp_path, monkeypatch):
    with write_animation(tmp_path / "a.mp4", 10) as add:
        add(Image.new("RGB", (64, 32)))
    monkeypatch.setattr(limits, "MAX_SIDE", 50)
    for read in (read_frames, ResampledFrames):
        with pytest.raises(InputError, match="a video of 64 x 32 pixels is too large"):
            read(tmp_path / "a.mp4")


def test_a_video_that_jumps_to_the_end_of_time():
    with pytest.raises(InputError, match="seconds long: cut it"):
        list(resample([Timed(0, "a", 1e12), Timed(1e12, "b", 1)], 30))


@pytest.mark.parametrize(
    "playlist", ["ffconcat version 1.0\nfile real.mp4\n", "#EXTM3U\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n"]
)
def test_a_playlist_is_no_video(tmp_path, playlist):
    with write_animation(tmp_path / "real.mp4", 10) as add:
        add(Image.new("RGB", (64, 32)))
    (tmp_path / "a.mp4").write_text(playlist)
    with pytest.raises(InputError, match="a.mp4 cannot be read as a video"):
        read_frames(tmp_path / "a.mp4")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4", ".json", ".npz", ""])
def test_devices_and_pipes_are_not_read(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe{suffix}")
    (tmp_path / f"device{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        for read in (read_picture, read_frames, read_poses, load_keypoints):
            with pytest.raises(InputError, match="(not a|no) file"):
                read(tmp_path / f"{name}{suffix}")


def test_a_pipe_in_a_folder_of_pictures(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    os.mkfifo(tmp_path / "1.png")
    with pytest.raises(InputError, match="(not a|no) file"):
        list(read_frames(tmp_path))
    (tmp_path / "1.png").unlink()
    os.mkfifo(tmp_path / "1.json")
    with pytest.raises(InputError, match="(not a|no) file"):
        load_keypoints(tmp_path)


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000, 3, None, b"a.png"])
def test_what_is_no_path(path):
    for read in (read_picture, read_frames, read_poses, load_keypoints, load_archive):
        with pytest.raises(InputError):
            read(path)


def test_a_file_larger_than_json_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr("magicdance_core.files.MAX_JSON_BYTES", 10)
    (tmp_path / "a.json").write_text(json.dumps(frame()))
    with pytest.raises(InputError, match="larger than"):
        load_keypoints(tmp_path / "a.json")


def test_archives_that_unpack_to_more_than_they_say_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name in ("points", "identities", "people", "sizes"):
            archive.writestr(f"{name}.npy", bytes(50_000_000))
    data = path.read_bytes().replace((50_000_000).to_bytes(4, "little"), (500).to_bytes(4, "little"))
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(InputError, match="compressed as NumPy does not"):
        load_archive(path)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
