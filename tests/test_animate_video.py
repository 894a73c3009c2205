"""animate --video: from a driving video with sound to a video with sound. The detector reads drawn maps, so that no
weights are needed; the reference is such a map, too."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from sound_videos import write_source

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.media.audio import add_audio
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoint_files import load_keypoints, save_keypoints
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.pose.look_ahead import look_ahead
from magicdance_core.puppets import Choreography, Identity, puppet_keypoints

FRAMES, FPS, SIDE = 12, 10, 256


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    """A model, a driving video of pose maps with a tone in its second half, and a reference."""
    folder = tmp_path_factory.mktemp("video")
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    dance, identity = Choreography.from_seed(3), Identity.from_seed(4)
    maps = [draw_pose(puppet_keypoints(identity, dance.pose(4 * k), SIDE, SIDE)) for k in range(FRAMES)]
    with media.write_animation(folder / "silent.mp4", FPS) as add:
        for pose in maps:
            add(Image.fromarray(pose))
    sound = write_source(folder / "sound.mp4", "mp4", "aac", seconds=2, beep=0.6)
    assert add_audio(folder / "dance.mp4", folder / "silent.mp4", sound) == "copied"
    media.write_picture(folder / "me.png", Image.fromarray(maps[0]))
    for number, pose in enumerate(maps):
        media.write_picture(folder / "frames" / f"{number:05d}.png", Image.fromarray(pose))
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    return tmp_path


def animate(out, *more, video="dance.mp4"):
    given = ["animate", "--model", "model", "--reference", "me.png", "--out", str(out), "--size", "16", "--steps", "1"]
    source = [] if video is None else ["--video", str(video), "--detector", "drawn"]
    return main([*given, "--device", "cpu", *source, *map(str, more)])


def describe(path):
    with av.open(str(path)) as file:
        sound = [stream.codec_context.name for stream in file.streams.audio]
        return sum(1 for _ in file.decode(video=0)), file.streams.video[0].average_rate, sound


def test_a_video_becomes_a_video_of_its_length_rate_and_sound(work):
    assert animate(work / "out.mp4") == 0
    assert describe(work / "out.mp4") == (FRAMES, FPS, ["aac"])
    kept = {path.name for path in (work / "out.mp4.work").iterdir()}
    assert kept == {"keypoints.npz", "reference.npz", "report.json", "sheet.png"}
    report = json.loads((work / "out.mp4.work" / "report.json").read_text())
    assert report["frames_with_person"] == FRAMES and report["settings"]["fps"] == FPS
    with Image.open(work / "out.mp4.work" / "sheet.png") as sheet:
        assert sheet.width > 3 * 384


def test_a_part_at_another_rate_without_sound(work):
    assert animate(work / "out.mp4", "--start", 0.4, "--end", 0.9, "--fps", 20, "--no-audio") == 0
    assert describe(work / "out.mp4") == (10, 20, [])


def test_frames_get_the_sound_as_a_file_beside_them(work):
    assert animate(work / "out") == 0
    assert len(list((work / "out").glob("*.png"))) == FRAMES and (work / "out" / "audio.m4a").stat().st_size > 0
    assert animate(work / "out.gif") == 0 and (work / "out.gif").stat().st_size > 0


def test_an_interrupted_run_continues_to_the_same_video(work, monkeypatch, capsys):
    assert animate(work / "whole.mkv") == 0
    write = media.write_picture

    def interrupted(path, picture):
        if Path(path).name == "00009.png":
            raise KeyboardInterrupt
        write(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr(media, "write_picture", interrupted)
        assert animate(work / "parts.mkv") == 130
    capsys.readouterr()
    assert animate(work / "parts.mkv") == 0
    assert "keypoints of an earlier run" in capsys.readouterr().out
    one, other = (np.stack([np.asarray(f) for f in media.read_frames(work / f"{n}.mkv")]) for n in ("whole", "parts"))
    assert np.array_equal(one, other)


@pytest.fixture
def begun(work):
    """A folder of frames of which two are missing, and the driving video, which may be replaced."""
    shutil.copy("dance.mp4", work / "mine.mp4")
    assert animate(work / "out", video=work / "mine.mp4") == 0
    for number in (3, 7):
        (work / "out" / f"{number:05d}.png").unlink()
    return work


@pytest.mark.parametrize("more", [["--start", 0.5], ["--smooth", "none"], ["--fps", 5], ["--max-gap", 2]])
def test_frames_of_other_settings_are_not_mixed(begun, capsys, more):
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    assert animate(begun / "out", "--resume", *more, video=begun / "mine.mp4") == 2
    assert f"begun with other settings ({more[0].strip('-').replace('-', '_')})" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} == before


def test_frames_of_another_video_are_not_mixed(begun, capsys):
    shutil.copy("silent.mp4", begun / "mine.mp4")
    assert animate(begun / "out", "--resume", video=begun / "mine.mp4") == 2
    assert "begun with other settings (video)" in capsys.readouterr().err
    shutil.rmtree(begun / "out.work")
    with media.write_animation(begun / "mine.mp4", FPS) as add:
        first, *rest = media.read_frames("frames")
        for frame in [first, *rest[::-1]]:
            add(frame)
    assert animate(begun / "out", "--resume", video=begun / "mine.mp4") == 2
    assert "out was begun with other poses: repeat that" in capsys.readouterr().err
    assert not (begun / "out" / ".lock").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda work: (work / "report.json").write_text("[]"),
        lambda work: change(work / "report.json", findings=3),
        lambda work: change(work / "report.json", keypoints="0"),
        lambda work: save_keypoints(work / "keypoints.npz", load_keypoints(work / "keypoints.npz")[:5]),
        lambda work: save_keypoints(work / "reference.npz", load_keypoints(work / "keypoints.npz")[4:5]),
        lambda work: (work / "keypoints.npz").write_bytes(b"PK"),
    ],
)
def test_keypoints_that_were_changed_are_made_again(work, damage):
    assert animate(work / "out.gif", "--limit", 6) == 0
    before = (work / "out.gif").read_bytes()
    (work / "out.gif").unlink()
    damage(work / "out.gif.work")
    assert animate(work / "out.gif", "--limit", 6) == 0
    assert (work / "out.gif").read_bytes() == before


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_frames_that_no_run_wrote_are_not_taken(work, capsys):
    (work / "out.gif.work").mkdir()
    shutil.copytree("frames", work / "out.gif.work" / "frames")
    assert animate(work / "out.gif") == 2
    assert "frames holds no settings.json" in capsys.readouterr().err
    shutil.rmtree(work / "out.gif.work" / "frames")
    (work / "out.gif.work" / "frames").symlink_to(Path("frames").resolve())
    assert animate(work / "out.gif") == 2
    assert "frames is a link: remove it" in capsys.readouterr().err
    assert not (work / "out.gif").exists() and len(list(Path("frames").iterdir())) == FRAMES


def test_a_result_does_not_replace_what_it_is_made_of(work, capsys):
    shutil.copy("dance.mp4", work / "mine.mp4")
    shutil.copy("me.png", work / "me.png")
    before = {path.name: path.read_bytes() for path in work.iterdir()}
    assert animate(work / "mine.mp4", video=work / "mine.mp4") == 2
    assert "mine.mp4 is the video, which the result would replace" in capsys.readouterr().err
    assert animate(work / "me.png", "--reference", work / "me.png") == 2
    assert "me.png is the reference" in capsys.readouterr().err
    assert animate(work / "out", "--work", work / "out") == 2
    assert "--work and --out are both" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in work.iterdir()} == before


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--start", "5", "--end", "4"], "give an end after the start"),
        (["--start", "100"], "the video ends before"),
        (["--video", "nothing.mp4"], "nothing.mp4 does not exist"),
        (["--poses", "silent.mp4"], "not allowed with argument"),
        (["--start", "-1"], "--start"),
        (["--detector", "dwpose", "--models", "nowhere"], "yolox_l.onnx"),
        (["--model", "nothing"], "no model nothing"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(work, capsys, more, words):
    before = sorted(os.listdir())
    assert animate(work / "out.mp4", *more) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert sorted(os.listdir()) == before and not list(work.glob("out*"))


def test_video_options_need_a_video(work, capsys):
    assert animate(work / "out.mp4", "--poses", "silent.mp4", "--start", 1, "--no-audio", video=None) == 2
    assert "--start and --no-audio need a driving video" in capsys.readouterr().err


def test_nobody_in_the_video_is_told(work, capsys):
    with media.write_animation(work / "empty.mp4", FPS) as add:
        for _ in range(5):
            add(Image.new("RGB", (64, 64)))
    assert animate(work / "out.mp4", "--video", work / "empty.mp4") == 2
    assert "has a person" in capsys.readouterr().err.splitlines()[-1]


def motion(count=20):
    identity, dance = Identity.from_seed(4), Choreography.from_seed(3)
    return [puppet_keypoints(identity, dance.pose(k), SIDE, SIDE) for k in range(count)]


def without(frame, part, points=slice(None)):
    from dataclasses import replace

    person = frame.people[0]
    values = getattr(person, part).copy()
    values[points] = 0
    return replace(frame, people=(replace(person, **{part: values}),))


def test_nothing_is_said_of_a_motion_of_the_same_person():
    frames = motion()
    assert look_ahead(frames[0], frames, frames, 10).findings == []


@pytest.mark.parametrize(
    ("reference", "driving", "words"),
    [
        (lambda frame: without(frame, "body", [9, 10, 12, 13]), lambda k, f: f, "does not show the legs"),
        (lambda frame: without(frame, "body", [10, 13]), lambda k, f: f, "does not show the feet"),
        (lambda f: f, lambda k, f: without(f, "left_hand") if k < 8 else f, "left hand is not found in 40%.*0.8 s"),
        (lambda f: f, lambda k, f: without(f, "left_hand"), "left hand is never found, so none is drawn"),
        (lambda f: f, lambda k, f: without(f, "body", range(8, 14)), "video does not show the hips, which the refer"),
        (lambda f: f, lambda k, f: PoseFrame((), SIDE, SIDE) if k > 13 else f, "missing in 30%.*0.6 s"),
        (lambda f: f, lambda k, f: without(f, "body", [0, 14, 15, 16, 17]) if k % 2 else f, "turned away in 50%"),
    ],
)
def test_what_will_be_hard_is_told_with_a_remedy(reference, driving, words):
    frames = motion()
    changed = [driving(k, frame) for k, frame in enumerate(frames)]
    found = look_ahead(reference(frames[0]), changed, frames, 10).findings
    import re

    assert any(re.search(words, sentence) for sentence in found), found


def test_motion_out_of_frame_and_other_bodies_are_told():
    frames = motion()
    from dataclasses import replace

    def moved(frame, shift):
        person = frame.people[0]
        body = person.body.copy()
        body[:, 0] += shift
        return replace(frame, people=(replace(person, body=body),))

    found = look_ahead(frames[0], frames, [moved(f, SIDE) for f in frames], 10).findings
    assert "leaves the picture in 100%" in found[0]
    short = frames[0].people[0].body.copy()
    for hip, knee, ankle in ((8, 9, 10), (11, 12, 13)):
        short[knee, :2] = short[hip, :2] + (short[knee, :2] - short[hip, :2]) / 2
        short[ankle, :2] = short[knee, :2] + (short[ankle, :2] - short[knee, :2]) / 2
    child = replace(frames[0], people=(replace(frames[0].people[0], body=short),))
    ahead = look_ahead(child, frames, frames, 10)
    assert any("other proportions" in sentence for sentence in ahead.findings) and ahead.proportions["thigh"] < 0.8
