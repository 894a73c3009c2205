"""extract over a folder of videos: what cannot be read is told, and stops nothing else."""

import os

import pytest
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.commands import extract as command
from magicdance_core.media import write_animation
from magicdance_core.pose.draw import draw_pose
from magicdance_core.puppets import Choreography, Identity, puppet_keypoints


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    identity, dance = Identity.from_seed(1), Choreography.from_seed(1)
    with write_animation(folder / "z.mp4", 10) as add:
        for moment in range(2):
            add(Image.fromarray(draw_pose(puppet_keypoints(identity, dance.pose(5 * moment), 64, 64))))
    return folder


def extract(folder):
    return main(["extract", str(folder), "--out", str(folder.parent / "out"), "--detector", "drawn"])


def failures(capsys):
    return [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if " failed: " in line]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_what_is_no_video_is_told_and_the_others_are_done(videos, capsys):
    os.mkfifo(videos / "a.mp4")
    (videos / "b.mp4").symlink_to("b.mp4")
    (videos / "c.mp4").symlink_to("nothing")
    (videos / "d.mp4").mkdir()
    (videos / "e.mp4").touch()
    (videos / ".hidden.mp4").write_bytes((videos / "z.mp4").read_bytes())
    (videos / "z.mp4").rename(videos / "z\x1b[2J.mp4")
    assert extract(videos) == 2
    told = failures(capsys)
    assert [line.split()[0] for line in told] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4"]
    assert all(line.isprintable() for line in told)
    assert [path.name for path in (videos.parent / "out").iterdir()] == ["z\x1b[2J"]


def test_an_error_of_the_system_stops_no_other_video(videos, capsys, monkeypatch):
    (videos / "a.mp4").write_bytes((videos / "z.mp4").read_bytes())
    one = command._extract

    def unreadable(options):
        if options.source.name == "a.mp4":
            raise PermissionError(13, "Permission denied")
        one(options)

    monkeypatch.setattr(command, "_extract", unreadable)
    assert extract(videos) == 2
    assert failures(capsys) == ["a.mp4 failed: [Errno 13] Permission denied"]
    assert (videos.parent / "out" / "z" / "report.json").is_file()
