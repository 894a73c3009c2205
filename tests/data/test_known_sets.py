"""Public data sets on made-up folders of their published structures."""

import json

import pytest
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.choices import KNOWN_SETS
from magicdance_core.data.known_sets import KNOWN, find_known
from magicdance_core.data.layouts import read_layout
from magicdance_core.errors import InputError
from magicdance_core.media import write_animation
from magicdance_core.pose import frames_to_pose_keypoint
from magicdance_core.pose.keypoint_files import save_keypoints
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_keypoints

SIZE = 48, 64


def puppet(seed, frame):
    identity, pose = Identity.from_seed(seed), Choreography.from_seed(seed).pose(10 * frame)
    return draw_puppet(identity, pose, *SIZE), puppet_keypoints(identity, pose, *SIZE)


def fill(folder, seed, frames=3, poses=None):
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(frames):
        picture, keypoints = puppet(seed, frame)
        picture.save(folder / f"{frame:04d}.png")
        if poses is not None:
            poses.mkdir(parents=True, exist_ok=True)
            (data,) = frames_to_pose_keypoint([keypoints])
            (poses / f"{frame:04d}.json").write_text(json.dumps(data))


def prepared(out):
    index = json.loads((out / "index.json").read_text())
    return {video["name"]: video["split"] for video in index["videos"]}


def test_the_names_of_the_command_are_those_that_are_known():
    assert tuple(KNOWN) == KNOWN_SETS


def test_tiktok_as_published_has_discos_test_videos(tmp_path):
    for number in (1, 2, 334, 335, 340):
        fill(tmp_path / "set" / f"{number:05d}" / "images", number)
        fill(tmp_path / "set" / f"{number:05d}" / "masks", number)
    found = find_known("tiktok", tmp_path / "set")
    splits = {name: video.split for name, video in found.items()}
    assert splits == {"00001": "train", "00002": "train", "00334": "train", "00335": "test", "00340": "test"}
    assert found["00001"].path.name == "images" and found["00001"].poses is None


def test_tiktok_as_prepared_by_disco_becomes_a_data_set_with_its_poses(tmp_path, capsys):
    for number in (1, 2, 3, 335):
        video = tmp_path / "set" / f"{number:03d}"
        fill(video, number, poses=video / "openpose_json")
    command = [
        "dataset",
        str(tmp_path / "set"),
        "--layout",
        "tiktok",
        "--out",
        str(tmp_path / "out"),
        "--min-area",
        "0",
    ]
    assert main(command) == 0, capsys.readouterr().err
    splits = prepared(tmp_path / "out")
    assert splits["335"] == "test" and sorted(splits.values()) == ["test", "train", "train", "validation"]
    assert len(read_layout(tmp_path / "out")) == 4


def test_ubc_fashion_keeps_its_split(tmp_path):
    for split, seeds in (("train", (1, 2, 3)), ("test", (4,))):
        (tmp_path / "set" / split).mkdir(parents=True)
        for seed in seeds:
            name = f"91-{seed}CN5S"
            with write_animation(tmp_path / "set" / split / f"{name}.mp4", 30) as add:
                for frame in range(3):
                    add(puppet(seed, frame)[0])
            save_keypoints(tmp_path / "poses" / f"{split}-{name}.npz", [puppet(seed, k)[1] for k in range(3)])
    command = ["dataset", str(tmp_path / "set"), "--layout", "ubc-fashion", "--out", str(tmp_path / "out")]
    assert main([*command, "--poses", str(tmp_path / "poses"), "--min-area", "0", "--validation", "0"]) == 0
    splits = prepared(tmp_path / "out")
    assert splits.pop("test-91-4CN5S") == "test" and set(splits.values()) == {"train"} and len(splits) == 3


def test_everybody_dance_now_takes_frames_and_leaves_labels(tmp_path):
    for subject in ("subject1", "subject2"):
        fill(tmp_path / "set" / subject / "train" / "train_img", 1)
        fill(tmp_path / "set" / subject / "train" / "train_label", 2)
        fill(tmp_path / "set" / subject / "val" / "test_img", 3)
    fill(tmp_path / "set" / "subject3" / "train_img", 4)
    found = find_known("everybody-dance-now", tmp_path / "set")
    assert {name: video.split for name, video in found.items()} == {
        "subject1-train-train": "train", "subject2-train-train": "train", "subject3-train": "train",
        "subject1-val-test": "test", "subject2-val-test": "test",
    }  # fmt: skip
    assert all(video.path.name in ("train_img", "test_img") for video in found.values())


def test_other_folders_are_refused_with_the_structure(tmp_path, capsys):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="does not hold ubc-fashion: give the folder of train/.*mp4 and test/"):
        find_known("ubc-fashion", tmp_path)
    assert main(["dataset", str(tmp_path), str(tmp_path), "--layout", "tiktok", "--out", str(tmp_path / "o")]) == 2
    assert "takes one folder and there are 2" in capsys.readouterr().err
