"""Parquet files streamed by Hugging Face datasets, against the same frames read one by one."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from magicdance_core.__main__ import main
from magicdance_core.data import open_frames
from magicdance_core.data.data_config import DataConfig
from magicdance_core.data.layouts import read_layout
from magicdance_core.data.parquet_shards import cut_clips, library
from magicdance_core.data.picking import Picker
from magicdance_core.data.samples import ProcessBatches, load_batches
from magicdance_core.data.video_frames import VideoFrames
from magicdance_core.errors import InputError
from magicdance_core.training import engine
from magicdance_core.training.engine import train
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace

pytest.importorskip("datasets", minversion="4.8")


@pytest.fixture(scope="module")
def sets(films, tmp_path_factory):
    """A data set of three videos, and its export: clips of at most four frames, two clips per file."""
    root = tmp_path_factory.mktemp("sets")
    command = ["dataset", str(films[0]), "--poses", str(films[1]), "--png", "--validation", "0", "--test", "0"]
    assert main([*command, "--out", str(root / "set")]) == 0
    assert main(["shards", str(root / "set"), "--out", str(root / "shards"), "--frames", "4", "--clips", "2"]) == 0
    return root / "set", root / "shards"


def opened(folder, **data):
    return open_frames(DataConfig(kind="videos", folder=str(folder), size=32, crops=0, **data), folder)


def test_streamed_frames_equal_those_of_the_files(sets):
    files, streamed = VideoFrames(read_layout(sets[0])), opened(sets[1])
    clips = cut_clips(read_layout(sets[0]), 4, consecutive=False)["train"]
    assert sorted(len(clip.frames) for clip in clips) == [3, 3, 3, 3, 4]
    by_name = {f"{files.videos[c.video].name}, frames {c.frames[0]} to {c.frames[-1]}": c for c in clips}
    assert sorted(by_name) == sorted(video.name for video in streamed.videos)
    for number in streamed.order("train", 0, 0):
        clip = by_name[streamed.videos[number].name]
        for place, frame in enumerate(clip.frames):
            one, two = streamed.read(number, place), files.read(clip.video, frame)
            for mine, theirs in zip((one.image, one.pose, one.regions), (two.image, two.pose, two.regions)):
                assert np.array_equal(mine, theirs)


def test_each_epoch_takes_each_clip_once_in_a_new_order(sets):
    streamed = opened(sets[1])
    passes = [streamed.order("train", 1, epoch) for epoch in range(6)]
    assert all(sorted(one) == list(range(5)) for one in passes) and len({tuple(one) for one in passes}) > 1
    assert streamed.order("train", 1, 3) == passes[3] and streamed.order("validation", 1, 0) == []


def objective(frames, stage, data, order=None):
    space = LatentSpace(2, 4, 1.0)
    made = DiffusionObjective(frames, None, data, stage, 3, torch.zeros(1, 1, 8), "epsilon", space)
    if order:
        made.train = Picker(frames.videos, "train", stage.targets, 0, 0, 3, order=order)
    return made


def equal(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_streamed_samples_equal_those_of_files_in_the_same_order(films, smoke, tmp_path):
    """Whole videos as clips, so that samples depend on the order of the videos alone."""
    command = ["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(tmp_path / "set"), "--test", "0"]
    assert main([*command, "--validation", "0"]) == 0
    assert main(["shards", str(tmp_path / "set"), "--out", str(tmp_path / "shards"), "--frames", "6"]) == 0
    stage = replace(smoke.stages[3], references=2)
    data = DataConfig(kind="videos", folder="x", size=32, crops=0, crop=(0.7, 1.0))
    files, streamed = VideoFrames(read_layout(tmp_path / "set")), opened(tmp_path / "shards")
    names = [video.name for video in files.videos]
    place = {n: names.index(video.name.split(",")[0]) for n, video in enumerate(streamed.videos)}

    def same(split, seed, epoch):
        return [place[n] for n in streamed.order(split, seed, epoch)]

    one, two = objective(streamed, stage, data), objective(files, stage, data, same)
    for index in range(7):
        streams, reads = one.sample(index), two.sample(index)
        assert place[int(streams.pop("video"))] == int(reads.pop("video")) and equal(streams, reads)


def test_any_processes_workers_and_restarts_make_the_same_samples(sets, smoke):
    stage = replace(smoke.stages[3], references=4)
    data = DataConfig(kind="videos", folder=str(sets[1]), size=32, crops=0)
    whole = [objective(opened(sets[1]), stage, data).sample(index) for index in range(16)]

    def stream(first, process=0, processes=1, workers=0):
        own = objective(opened(sets[1]), stage, data)
        return list(load_batches(own.sample, ProcessBatches(first, 4, 4, 2, process, processes), workers))

    def rows(batch):
        return [{name: value[k] for name, value in batch.items()} for k in range(2)]

    for workers in (0, 2):
        made = [row for batch in stream(0, workers=workers) for row in rows(batch)]
        assert all(map(equal, made, whole))
    resumed = [row for batch in stream(3) for row in rows(batch)]
    assert all(map(equal, resumed, whole[12:]))
    parts = [[row for batch in stream(2, process, 2) for row in rows(batch)] for process in (0, 1)]
    assert all(map(equal, parts[0], [*whole[8:10], *whole[12:14]]))
    assert all(map(equal, parts[1], [*whole[10:12], *whole[14:16]]))


def test_a_resumed_streamed_run_ends_with_the_weights_of_an_uninterrupted_one(sets, one_stage, tmp_path, monkeypatch):
    data = {"kind": "videos", "folder": str(sets[1]), "crops": 0}
    config = one_stage("unet", steps=3, save_every=2, data=data, run={"validation": 1})
    train(config, tmp_path / "whole", "cpu")
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_finish_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "again", "cpu")
    train(config, tmp_path / "again", "cpu")
    one, two = (load_file(tmp_path / name / "stages" / "00-unet.safetensors") for name in ("whole", "again"))
    assert equal(one, two)


def test_shards_are_the_same_files_and_several_exports_one_data_set(sets, tmp_path, capsys):
    command = ["shards", str(sets[0]), "--out", str(tmp_path / "a"), "--frames", "4", "--clips", "2"]
    assert main([*command, "--shard", "2/2"]) == 0
    assert "is ready" in capsys.readouterr().out and not (tmp_path / "a" / "index.json").exists()
    assert main([*command, "--shard", "1/2"]) == 0
    names = sorted(path.name for path in sets[1].iterdir())
    assert names == sorted(path.name for path in (tmp_path / "a").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (sets[1] / name).read_bytes() for name in names)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").glob("*.parquet")}
    assert main(command) == 0
    assert times == {path: path.stat().st_mtime_ns for path in times}
    shutil.copytree(sets[1], tmp_path / "b")
    both = opened(tmp_path)
    assert len(both.videos) == 10 and sorted(both.order("train", 0, 0)) == list(range(10))


def test_consecutive_clips_for_motion_modules(sets, tmp_path):
    assert main(["shards", str(sets[0]), "--out", str(tmp_path), "--frames", "4", "--consecutive"]) == 0
    runs = {video.name: video.runs for video in opened(tmp_path).videos}
    assert runs["a, frames 0 to 2"] == ((0, 3),) and runs["c, frames 0 to 3"] == ((0, 2), (2, 2))
    spread = {video.name: video.runs for video in opened(sets[1]).videos}
    assert spread["a, frames 0 to 4"] == ((0, 1), (1, 1), (2, 1))


def test_damaged_streams_are_named(sets, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="latents of streams are not cached: set data.crops to 0"):
        open_frames(DataConfig(kind="videos", folder=str(sets[1]), size=32), tmp_path)
    shutil.copytree(sets[1], tmp_path / "copy")
    (tmp_path / "copy" / "train-00001.parquet").write_bytes(b"PAR1 no")
    copy = opened(tmp_path / "copy")
    with pytest.raises(InputError, match=r"train-00001.parquet cannot be streamed \(.*export the data set once more"):
        for number in copy.order("train", 0, 0):
            copy.read(number, 0)
    (tmp_path / "copy" / "train-00001.parquet").unlink()
    with pytest.raises(InputError, match="train-00001.parquet is missing"):
        opened(tmp_path / "copy")
    index = json.loads((tmp_path / "copy" / "index.json").read_text())
    (tmp_path / "copy" / "index.json").write_text(json.dumps(index | {"files": [1]}))
    with pytest.raises(InputError, match="index.json is damaged"):
        opened(tmp_path / "copy")
    assert main(["shards", str(sets[0]), "--out", str(tmp_path / "few"), "--frames", "3"]) == 2
    before = (sets[0] / "index.json").read_bytes()
    assert main(["shards", str(sets[0]), "--out", str(sets[0])]) == 2
    assert (sets[0] / "index.json").read_bytes() == before
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(InputError, match="pip install 'datasets>=4.8'"):
        library("datasets")
