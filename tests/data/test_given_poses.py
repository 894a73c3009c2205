"""Poses that are given belong to frames or times of the video, and captions are read as editors save them."""

import json
import logging

import numpy as np
import pytest
from bug_reports import CASES, has_cases
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.data.given_poses import paired_poses
from magicdance_core.data.layouts import read_caption
from magicdance_core.data.prepare import find_videos
from magicdance_core.errors import InputError
from magicdance_core.media import write_animation, write_picture
from magicdance_core.media.resampling import ResampledFrames
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoint_files import save_keypoints
from magicdance_core.puppets import Choreography, Identity, puppet_clip

SIDE = 64


@pytest.fixture(scope="module")
def dance():
    return puppet_clip(Identity.from_seed(0), Choreography.from_seed(0), range(0, 96, 2))


def save(path, pictures, fps):
    with write_animation(path, fps) as add:
        for picture in pictures:
            add(Image.fromarray(picture))
    return path


@pytest.fixture(scope="module")
def maps(dance):
    return [draw_pose(frame, SIDE, SIDE) for frame in dance]


@pytest.fixture(scope="module")
def film(maps, tmp_path_factory):
    """A video of 48 frames at 60 a second; its pictures are the pose maps, so that pairs can be compared."""
    return save(tmp_path_factory.mktemp("film") / "a.mkv", maps, 60)


def differences(film, poses, fps=30):
    pictures = ResampledFrames(film, fps)
    pairs = list(zip(pictures, paired_poses(pictures, poses), strict=True))
    drawn = [pose if isinstance(pose, np.ndarray) else draw_pose(pose, SIDE, SIDE) for _, pose in pairs]
    return [float(np.abs(a[0].astype(int) - b).mean()) for a, b in zip(pairs, drawn)]


def test_one_pose_a_frame_is_paired_before_resampling(film, maps, dance, tmp_path):
    save_keypoints(tmp_path / "a.npz", dance)
    for number, picture in enumerate(maps):
        write_picture(tmp_path / "folder" / f"{number}.png", Image.fromarray(picture))
    given = [tmp_path / "a.npz", tmp_path / "folder"]
    given += [save(tmp_path / f"{fps}.mp4", maps, fps) for fps in (60, 30, 25)]
    for poses in given:
        found = differences(film, poses)
        assert len(found) == 24 and max(found) < 4, poses


def test_one_pose_a_resampled_picture_is_paired_with_it(film, maps, dance, tmp_path):
    save_keypoints(tmp_path / "a.npz", dance[::2])
    for poses in (tmp_path / "a.npz", save(tmp_path / "b.mp4", maps[::2], 30)):
        assert max(differences(film, poses)) < 4


def test_other_rates_are_paired_by_time(film, maps, tmp_path):
    poses = save(tmp_path / "a.mp4", maps[::4], 15)
    found = differences(film, poses)
    assert len(found) == 24 and max(found[::2]) < 4


def test_too_few_and_too_many_poses_are_told(film, maps, dance, tmp_path):
    for count in (20, 47, 60):
        save_keypoints(tmp_path / "a.npz", (dance * 2)[:count])
        with pytest.raises(InputError, match=rf"has poses for {count} frames.*has 48 \(24 at 30 a second\): give one"):
            list(paired_poses(ResampledFrames(film), tmp_path / "a.npz"))


def test_the_dance_itself_is_no_pose(film, tmp_path):
    pictures = [np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)] * 48
    with pytest.raises(InputError, match="does not show OpenPose maps"):
        list(paired_poses(ResampledFrames(film), save(tmp_path / "a.mp4", pictures, 60)))


@has_cases
def test_the_60_fps_dance_of_a_bug_report_keeps_its_poses(tmp_path):
    out = tmp_path / "set"
    command = ["dataset", str(CASES / "dance60.mp4"), "--poses", str(CASES / "given"), "--out", str(out), "--png"]
    assert main([*command, "--fps", "30"]) == 0
    folder = out / "videos" / "dance60"
    pictures = sorted(folder.glob("0*.png"))
    assert len(pictures) == 24
    for picture in pictures:
        pose = np.asarray(Image.open(folder / "poses" / picture.name), int)
        assert np.abs(np.asarray(Image.open(picture), int) - pose).mean() < 3  # both show the map


def test_videos_of_all_containers_are_found(tmp_path):
    for name in ("a.3gp", "b.ts", "c.MXF", "d.mts", "e.y4m", "f.webm"):
        (tmp_path / name).touch()
    write_picture(tmp_path / "cover.png", Image.new("RGB", (8, 8)))  # does not make it a folder of frames
    assert list(find_videos([tmp_path])) == list("abcdef")


@pytest.mark.parametrize("data", [
    "eine Tänzerin".encode(), b"\xef\xbb\xbf" + "eine Tänzerin".encode(), "eine Tänzerin".encode("utf-16"),
    "eine Tänzerin".encode("utf-16-le"), "eine Tänzerin".encode("utf-16-be"), "eine\r\nTänzerin\n".encode("cp1252"),
])  # fmt: skip
def test_captions_are_read_in_the_encodings_of_editors(tmp_path, data):
    (tmp_path / "a.txt").write_bytes(data)
    assert read_caption(tmp_path / "a.mp4") == "eine Tänzerin"


def test_a_caption_that_cannot_be_read_is_reported_and_the_others_go_on(films, tmp_path, caplog):
    import shutil

    shutil.copytree(films[0], tmp_path / "videos")
    (tmp_path / "videos" / "a.txt").write_bytes(b"\x81\x8d\x8f")
    (tmp_path / "videos" / "b.txt").write_text("a man")
    command = ["dataset", str(tmp_path / "videos"), "--poses", str(films[1]), "--out", str(tmp_path / "set")]
    with caplog.at_level(logging.WARNING):
        assert main(command) == 0
    assert any("a.txt cannot be read as text" in line for line in caplog.messages)
    videos = json.loads((tmp_path / "set" / "index.json").read_text())["videos"]
    assert {video["name"]: video["caption"] for video in videos}["b"] == "a man" and len(videos) == 3
