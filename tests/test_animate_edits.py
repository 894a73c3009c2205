"""extract and animate with changed expressions and time on the beat: what is written, and bad input."""

import json

import av
import numpy as np
import pytest
from media.test_sound_curves import RATE, clicks

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.pose.keypoint_files import load_keypoints, save_keypoints
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_clip, puppet_keypoints
from magicdance_core.puppets.body_pose import BodyPose

FRAMES, FPS = 60, 15


def write_wav(path, sound):
    samples = np.ascontiguousarray((sound * 32767).clip(-32768, 32767).astype(np.int16).T.reshape(1, -1))
    with av.open(str(path), "w", format="wav") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            out.mux(packet)


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    folder, identity = tmp_path_factory.mktemp("edits"), Identity.from_seed(3, "test")
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    clip = puppet_clip(identity, Choreography.from_seed(3, "test"), range(0, 2 * FRAMES, 2), 64)
    save_keypoints(folder / "dance.npz", clip)
    save_keypoints(folder / "me.npz", [puppet_keypoints(identity, BodyPose(mouth_open=0.9), 64)])
    media.write_picture(folder / "me.png", draw_puppet(identity, BodyPose(), 64))
    write_wav(folder / "clicks.wav", clicks(np.arange(0.2, 4, 0.55), 4))
    write_wav(folder / "silence.wav", np.zeros((2, 2 * RATE)))
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    return tmp_path


def extract(out, *more, source="dance.npz"):
    return main(["extract", source, "--out", str(out), "--fps", str(FPS), *more])


def gaps(frames):
    faces = [frame.people[0].face for frame in frames]
    return np.array([face[66, 1] - face[62, 1] for face in faces])


def test_extract_changes_expressions(work):
    assert extract(work / "out", "--expression", "mouth_open=0: 0, 59: 0.5", "--expression", "smile=0.5") == 0
    before, after = load_keypoints("dance.npz"), load_keypoints(work / "out")
    rises = gaps(after) - gaps(before)
    assert rises[-1] > 1 and abs(rises[0]) < 0.3
    report = json.loads((work / "out" / "report.json").read_text())
    assert report["edits"] == {"expression": {"mouth_open": "0: 0, 59: 0.5", "smile": "0.5"}}


def test_mouths_open_with_the_sound_and_faces_can_be_still(work):
    options = ("--retarget", "me.npz", "--still-face", "--mouth-audio", "clicks.wav")
    assert extract(work / "out", *options, "--expression", "mouth_open=-1") == 0
    opened = gaps(load_keypoints(work / "out"))
    loud = np.unique(np.round(np.arange(0.2, 4, 0.55) * FPS - 0.5).astype(int))
    quiet = [frame for frame in range(FRAMES) if np.abs(loud - frame).min() > 2]
    assert opened[loud].mean() > opened[quiet].mean() + 2 and opened[quiet].max() < 0.8


def test_time_is_warped_onto_the_beat_and_plotted(work, capsys):
    assert extract(work / "out", "--match-beat", "clicks.wav") == 0
    report = json.loads((work / "out" / "report.json").read_text())["beat"]
    assert report["distance_after"] < report["distance_before"] / 2 and report["accents"] > 3
    assert "s apart before" in capsys.readouterr().out
    assert (work / "out" / "beat.png").is_file()
    assert len(load_keypoints(work / "out")) == FRAMES


def test_animate_takes_the_same_changes(work):
    given = ["animate", "--model", "model", "--reference", "me.png", "--poses", "dance.npz", "--device", "cpu"]
    given += ["--limit", "2", "--size", "32", "--steps", "1", "--out"]
    assert main([*given, str(work / "plain")]) == 0
    assert main([*given, str(work / "changed"), "--expression", "mouth_open=1", "--mouth-audio", "clicks.wav"]) == 0
    pictures = [(work / name / "00000.png").read_bytes() for name in ("plain", "changed")]
    assert pictures[0] != pictures[1]
    assert main([*given, str(work / "changed"), "--expression", "mouth_open=0.5", "--resume"]) == 2


@pytest.mark.parametrize(
    "options, message",
    [
        (("--expression", "grin=1"), "mouth_open, smile"),
        (("--expression", "smile=2"), "smile is 2.0: give -1 to 1"),
        (("--expression", "smile=0: 0, 3"), "give a number, or frames and values"),
        (("--expression", "smile=1", "--expression", "smile=0"), "sets smile twice"),
        (("--mouth-audio",), "takes the sound of a video, and there is none"),
        (("--mouth-audio", "silence.wav"), "The audio is silent"),
        (("--match-beat", "silence.wav"), "The audio is silent"),
        (("--match-beat", "none.wav"), "none.wav"),
        (("--match-beat", "me.png"), "cannot be read"),
        (("--still-face",), "give --retarget"),
    ],
)
def test_bad_input_leaves_nothing(work, capsys, options, message):
    assert extract(work / "out", *options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and "Traceback" not in error
    assert not list(work.iterdir())
