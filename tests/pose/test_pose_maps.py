"""What is given as poses: maps are told from other pictures, and what extract wrote is taken."""

import json

import numpy as np
import pytest
from bug_reports import CASES, has_cases
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.errors import InputError
from magicdance_core.media import read_frames, write_animation, write_picture
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoint_files import save_keypoints
from magicdance_core.pose.map_check import looks_like_pose_map
from magicdance_core.pose.maps import read_poses
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_clip


@pytest.fixture(scope="module")
def clip():
    return puppet_clip(Identity.from_seed(0), Choreography.from_seed(0), range(6))


def save(path, pictures):
    with write_animation(path, 25) as add:
        for picture in pictures:
            add(Image.fromarray(picture))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
@pytest.mark.parametrize("size", [(64, 64), (192, 256)])
def test_drawn_maps_are_maps_in_every_format(tmp_path, clip, suffix, size):
    maps = [draw_pose(frame, *size) for frame in clip]
    poses = read_poses(save(tmp_path / f"a{suffix}", [maps[0] * 0, *maps]))
    assert poses.count == 7 and poses.fps == 25


@pytest.mark.parametrize("parts", [{"body": False}, {"hands": False, "face": False}, {"face": False}])
def test_parts_of_maps_are_maps(clip, parts):
    assert all(looks_like_pose_map(draw_pose(frame, 256, 256, **parts)) for frame in clip)


def test_the_dance_itself_is_told(tmp_path):
    identity, dance = Identity.from_seed(1), Choreography.from_seed(1)
    pictures = [np.asarray(draw_puppet(identity, dance.pose(k), 96, 128)) for k in range(5)]
    with pytest.raises(InputError, match="does not show OpenPose maps.*extract.*animate --video"):
        read_poses(save(tmp_path / "a.mp4", pictures))


def test_noise_stages_and_outlines_are_told(tmp_path):
    random = np.random.default_rng(0)
    stage = np.zeros((96, 96, 3), np.uint8)
    stage[20:80, 30:60] = random.integers(60, 200, (60, 30, 1)) * [1, 0.8, 0.7]  # somebody in the dark
    red = np.zeros((96, 96, 3), np.uint8)
    red[20:80, 30:60] = [200, 10, 10]  # in red light
    outline = np.zeros((96, 96, 3), np.uint8)
    outline[20:80, 30:32] = 255
    for picture in (stage, red, outline, random.integers(0, 255, (96, 96, 3), dtype=np.uint8)):
        write_picture(tmp_path / "folder" / "0.png", Image.fromarray(picture.astype(np.uint8)))
        with pytest.raises(InputError, match="does not show OpenPose maps"):
            read_poses(tmp_path / "folder")


def test_inverted_and_black_maps_are_told(tmp_path, clip):
    maps = [draw_pose(frame, 128, 128) for frame in clip]
    with pytest.raises(InputError, match="light ground: invert their colours"):
        read_poses(save(tmp_path / "a.mp4", [255 - picture for picture in maps]))
    with pytest.raises(InputError, match="has no pose: all of its 6 frames are black"):
        read_poses(save(tmp_path / "b.mp4", [picture * 0 for picture in maps]))
    save_keypoints(tmp_path / "c.npz", [type(frame)((), frame.width, frame.height) for frame in clip])
    with pytest.raises(InputError, match="nobody in any of its 6 frames"):
        read_poses(tmp_path / "c.npz")


def test_transparent_maps_are_on_black(tmp_path, clip):
    drawn = draw_pose(clip[0], 96, 96)
    rgba = np.dstack([np.where(drawn.max(-1, keepdims=True) > 0, drawn, 255), 255 * (drawn.max(-1) > 0)])
    write_picture(tmp_path / "maps" / "0.png", Image.fromarray(rgba.astype(np.uint8)))
    (shown,) = read_poses(tmp_path / "maps")
    assert np.array_equal(shown, drawn)


def test_it_is_told_before_sampling(tmp_path, capsys):
    identity, dance = Identity.from_seed(1), Choreography.from_seed(1)
    pictures = [np.asarray(draw_puppet(identity, dance.pose(k), 96, 128)) for k in range(3)]
    write_picture(tmp_path / "me.png", Image.fromarray(pictures[0]))
    video, out = save(tmp_path / "dance.mp4", pictures), tmp_path / "out.gif"
    command = ["animate", "--model", "embedded", "--reference", str(tmp_path / "me.png"), "--out", str(out)]
    assert main([*command, "--poses", str(video)]) == 2
    assert "--video" in capsys.readouterr().err and not out.exists()


def test_what_extract_wrote_is_taken_with_its_rate(tmp_path, clip):
    maps = save(tmp_path / "maps.mp4", [draw_pose(frame, 256, 256) for frame in clip])
    assert main(["extract", str(maps), "--out", str(tmp_path / "e"), "--detector", "drawn", "--fps", "12.5"]) == 0
    poses = read_poses(tmp_path / "e")
    assert poses.fps == 12.5 and poses.count == len(list(poses)) == 3
    report = json.loads((tmp_path / "e" / "report.json").read_text())
    (tmp_path / "e" / "report.json").write_text(json.dumps(report | {"fps": "fast"}))
    assert read_poses(tmp_path / "e").fps is None


@has_cases
@pytest.mark.parametrize("name", ["dance60.mp4", "given/dance60.mp4", "var_first.gif", "mediarec.webm", "static.mp4"])
def test_maps_of_bug_reports_are_maps(name):
    assert all(map(looks_like_pose_map, map(np.asarray, read_frames(CASES / name))))
