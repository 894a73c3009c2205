import json
import shutil

import numpy as np
import pytest
from PIL import Image

from magicdance_core.data.layouts import read_layout, runs_of, split_by_name
from magicdance_core.data.video_frames import VideoFrames
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoint_files import load_keypoints


def test_disco_layout_with_json_and_masks(disco):
    entries = read_layout(disco)
    assert [e.video.frames for e in entries] == [4, 3, 4]
    assert sorted(e.video.split for e in entries) == ["train", "train", "validation"]
    assert entries[1].video.runs == ((0, 2), (2, 1))
    frame = VideoFrames(entries).read(1, 2)
    assert np.array_equal(frame.image, np.asarray(Image.open(disco / "002" / "0003.png")))
    assert np.array_equal(frame.pose, draw_pose(load_keypoints(disco / "002/openpose_json/0003.png.json", 48, 64)[0]))
    black = VideoFrames(entries, black_background=True).read(0, 0).image
    assert not black[:, :10].any() and not black[:, 40:].any() and black[:, 10:40].any()


def test_published_layout_pairs_pictures_and_maps_by_name(disco, tmp_path):
    for number, split in enumerate(("train_set", "val_set")):
        shutil.copytree(disco / f"00{number + 1}", tmp_path / split / "v", ignore=shutil.ignore_patterns("g*", "o*"))
        maps = tmp_path / f"pose_map_{split}" / "v"
        maps.mkdir(parents=True)
        for name in ("0000", "0002", "0003"):
            Image.new("RGB", (48, 64), (int(name), 0, 0)).save(maps / f"{name}.png")
    entries = read_layout(tmp_path)
    assert [(e.video.name, e.video.frames, e.video.split) for e in entries] == [
        ("train_set/v", 3, "train"),
        ("val_set/v", 3, "validation"),
    ]
    assert VideoFrames(entries).read(0, 2).pose[0, 0, 0] == 3
    shutil.rmtree(tmp_path / "pose_map_val_set" / "v")
    (tmp_path / "pose_map_val_set" / "v").mkdir()
    with pytest.raises(InputError, match="has no pose map with the name of a picture"):
        read_layout(tmp_path)


def test_damaged_and_unknown_data_sets_are_refused(tmp_path, disco):
    with pytest.raises(InputError, match="is not a data set: make one"):
        read_layout(tmp_path)
    (tmp_path / "index.json").write_text(json.dumps({"videos": [{"name": 1}]}))
    with pytest.raises(InputError, match="is damaged"):
        read_layout(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(disco, copy)
    (copy / "001" / "0001.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="0001.png cannot be read"):
        VideoFrames(read_layout(copy)).read(0, 1)


def test_splits_have_the_shares_and_known_names_keep_theirs():
    names = [f"video {n}" for n in range(100)]
    splits = split_by_name(names, 0.1, 0.05)
    counts = [list(splits.values()).count(part) for part in ("train", "validation", "test")]
    assert counts == [85, 10, 5] and split_by_name(reversed(names), 0.1, 0.05) == splits
    more = split_by_name([*names, *(f"new {n}" for n in range(100))], 0.1, 0.05, splits)
    assert splits.items() <= more.items() and list(more.values()).count("validation") == 20
    assert set(split_by_name("abc", 0.1, 0.1).values()) == {"train", "validation", "test"}
    assert set(split_by_name("a", 0.5, 0.5).values()) == {"train"}


def test_runs_of_consecutive_numbers():
    assert runs_of([3, 4, 5, 9, 11, 12]) == ((0, 3), (3, 1), (4, 2)) and runs_of([]) == ()
