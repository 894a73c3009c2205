import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image
from processes import in_processes

from magicdance_core.__main__ import main
from magicdance_core.data import open_frames, unfinished_video
from magicdance_core.data.data_config import DataConfig
from magicdance_core.data.prepare import (
    Filters,
    Output,
    find_poses,
    find_videos,
    prepare_video,
    why_dropped,
)
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoint_files import load_keypoints
from magicdance_core.pose.keypoints import Person, PoseFrame


@pytest.fixture(scope="module")
def prepared(films, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "set"
    videos, poses = films
    assert main(["dataset", str(videos), "--poses", str(poses), "--out", str(out), "--png"]) == 0
    return out


def test_frames_poses_report_and_sheet(films, prepared):
    report = json.loads((prepared / "report.json").read_text())
    assert (report["videos"], report["videos_kept"], report["frames"], report["frames_kept"]) == (4, 3, 18, 16)
    assert report["dropped"] == {"nobody": 2} and list(report["unusable"]) == ["d"]
    assert sorted(report["split"].items()) == [("test", 1), ("train", 1), ("validation", 1)]
    frames = open_frames(DataConfig(kind="videos", folder=str(prepared), size=32), prepared)
    for number, video in enumerate(frames.videos):
        given = load_keypoints(films[1] / f"{video.name}.npz")
        kept = [frame for frame in given if frame.people]
        for k, pose in enumerate(kept):
            assert np.array_equal(frames.read(number, k).pose, draw_pose(pose))
            assert frames.read(number, k).regions[0, 2] > frames.read(number, k).regions[0, 0] > 0
    assert {v.name: v.runs for v in frames.videos}["c"] == ((0, 2), (2, 2))
    assert Image.open(prepared / "contact_sheet.png").width > 300


def test_prepared_videos_are_not_repeated_and_damaged_ones_reported(films, prepared, capsys):
    times = {p: p.stat().st_mtime_ns for p in prepared.glob("videos/*/*") if p.is_file()}
    index = (prepared / "index.json").read_text()
    assert main(["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(prepared), "--png"]) == 0
    assert times == {p: p.stat().st_mtime_ns for p in prepared.glob("videos/*/*") if p.is_file()}
    assert (prepared / "index.json").read_text() == index
    assert "d is left out" in "".join(capsys.readouterr())


def test_shards_of_the_videos_make_the_same_set(films, prepared, tmp_path, capsys):
    command = ["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(tmp_path / "set"), "--png"]
    assert main([*command, "--shard", "1/2"]) == 0
    assert "is ready" in capsys.readouterr().out and not (tmp_path / "set" / "index.json").exists()
    assert main([*command, "--shard", "2/2"]) == 0
    for name in ("index.json", "report.json"):
        assert (tmp_path / "set" / name).read_bytes() == (prepared / name).read_bytes()


def _share(films, out):
    assert main(["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(out), "--png"]) == 0


def test_two_processes_at_once_make_the_same_set(films, prepared, tmp_path):
    """As two machines of a job array would, or `accelerate launch`: each knows its share by its rank."""
    assert in_processes(_share, films, tmp_path / "set", number=2) == [0, 0]
    for name in ("index.json", "report.json", "contact_sheet.png"):
        assert (tmp_path / "set" / name).read_bytes() == (prepared / name).read_bytes()


class KnownPoses:
    """A detector that returns the given keypoints, and kills its process at the n-th picture."""

    def __init__(self, poses, fatal=None, first=0):
        self.poses, self.fatal, self.first, self.calls = load_keypoints(poses), fatal, first, 0

    def reset(self):
        pass

    def detect(self, picture):
        if self.calls == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        return self.poses[self.first + self.calls - 1].people


def _prepare(films, name, folder, output=Output(), **how):  # noqa: B008
    """Prepare a video with `KnownPoses`; its record, and the number of pictures searched."""
    detector = KnownPoses(films[1] / f"{name}.npz", **how)
    record = prepare_video(name, films[0] / f"{name}.mp4", folder, detector, None, Filters(), output)
    return record, detector.calls


def test_a_killed_preparation_resumes_within_the_video(films, tmp_path):
    assert in_processes(_prepare, films, "c", tmp_path / "killed", fatal=4) == [-signal.SIGKILL]
    assert not (tmp_path / "killed" / "videos" / "c").exists()
    (begun,) = (tmp_path / "killed" / "videos").iterdir()
    with (begun / "frames.jsonl").open("a") as file:
        file.write('{"reason": nu')  # a line that the kill cut off
    record, calls = _prepare(films, "c", tmp_path / "killed", first=4)
    whole, all_calls = _prepare(films, "c", tmp_path / "whole")
    assert (calls, all_calls) == (2, 6) and record == whole and record["dropped"] == {"nobody": 2}
    names = [sorted(p.name for p in (tmp_path / n / "videos" / "c").iterdir()) for n in ("killed", "whole")]
    assert names[0] == names[1] and not begun.exists()
    for name in names[0]:
        one, two = ((tmp_path / n / "videos" / "c" / name).read_bytes() for n in ("killed", "whole"))
        assert one == two or name == "keypoints.npz"
    pairs = zip(*(load_keypoints(tmp_path / n / "videos" / "c" / "keypoints.npz") for n in ("killed", "whole")))
    assert all(np.array_equal(one.people[0].body, two.people[0].body) for one, two in pairs)


def test_only_frames_after_a_full_disk_or_a_damaged_line_are_repeated(films, tmp_path, monkeypatch):
    saves = []

    def full(*arguments, real=unfinished_video._save):
        saves.append(arguments)
        if len(saves) == 4:
            raise OSError(28, "No space left on device")
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(unfinished_video, "_save", full)
        with pytest.raises(InputError, match="Cannot write .*No space left .* make room and start again"):
            _prepare(films, "b", tmp_path)
    lines = tmp_path / "videos" / ".b.unfinished" / "frames.jsonl"
    assert len(lines.read_text().splitlines()) == 4
    lines.write_text(lines.read_text() + "[]\n")
    assert _prepare(films, "b", tmp_path, first=3)[1] == 3


def test_captions_can_be_added_later(films, prepared, tmp_path):
    shutil.copytree(films[0], tmp_path / "videos")
    shutil.copytree(prepared, tmp_path / "set")
    (tmp_path / "videos" / "a.txt").write_text("a man")
    command = ["dataset", str(tmp_path / "videos"), "--poses", str(films[1]), "--out", str(tmp_path / "set"), "--png"]
    assert main(command) == 0
    captions = [video.get("caption") for video in json.loads((tmp_path / "set" / "index.json").read_text())["videos"]]
    assert captions == ["a man", "", ""]


def test_other_settings_restart_unfinished_videos_and_are_refused_for_finished_ones(films, tmp_path):
    smaller = Output(short_side=32)
    assert in_processes(_prepare, films, "a", tmp_path, fatal=3) == [-signal.SIGKILL]
    assert [_prepare(films, "a", tmp_path, smaller)[1] for _ in range(2)] == [6, 0]
    with pytest.raises(InputError, match="was made with short_side 32, not None: give another --out"):
        _prepare(films, "a", tmp_path)


def test_published_filters():
    def frame(points, side=40.0, people=1):
        body = np.zeros((18, 3), np.float32)
        body[:points] = [(side * (k % 2), side * (k // 2 % 2), 1) for k in range(points)]
        return PoseFrame((Person(body=body),) * people, 100, 100)

    assert why_dropped(frame(7), Filters()) is None
    assert why_dropped(frame(6), Filters()) == "few keypoints"
    assert why_dropped(frame(7, side=20.0), Filters()) == "too small"
    assert why_dropped(frame(7, side=20.1), Filters()) is None
    assert why_dropped(frame(7, people=2), Filters()) == "several people"
    assert why_dropped(PoseFrame((), 100, 100), Filters()) == "nobody"


def test_bad_input_is_named(films, prepared, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no videos"):
        find_videos([tmp_path / "empty"])
    with pytest.raises(InputError, match="have the same name"):
        find_videos([films[0], films[0] / "a.mp4"])
    with pytest.raises(InputError, match=r"no poses for 1 videos \(z\)"):
        find_poses(films[1], ["a", "z"])
    shutil.copytree(prepared, tmp_path / "copy")
    command = ["dataset", str(films[0]), "--poses", str(films[1]), "--out", str(tmp_path / "copy"), "--png"]
    (tmp_path / "copy" / "index.json").write_text('{"videos": 3, "suffix": "png"}')
    assert main(command) == 2 and "index.json is damaged (videos" in capsys.readouterr().err
    (tmp_path / "copy" / "index.json").unlink()
    (tmp_path / "copy" / "videos" / "a" / "record.json").write_text("{}")
    assert main(command) == 2 and "remove its folder" in capsys.readouterr().err
    out = tmp_path / "set"
    assert main(["dataset", str(films[0] / "d.mp4"), "--poses", str(films[1]), "--out", str(out)]) == 2
