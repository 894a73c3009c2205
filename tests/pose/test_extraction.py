"""Extraction of keypoints from videos (frame rates, damage, rotation), and the extract command."""

import json
import os
import re
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.pose_accuracy import other_proportions
from magicdance_core.__main__ import main
from magicdance_core.errors import InputError
from magicdance_core.media import write_animation
from magicdance_core.media.resampling import ResampledFrames, resample
from magicdance_core.media.timing import Timed
from magicdance_core.pose import Person, PoseFrame, draw_pose, frames_to_pose_keypoint
from magicdance_core.pose.detectors.drawn_map import DrawnMapDetector
from magicdance_core.pose.draw import overlay
from magicdance_core.pose.extraction import detect
from magicdance_core.pose.keypoint_files import load_keypoints, save_keypoints
from magicdance_core.pose.keypoints import frames_to_points
from magicdance_core.pose.retarget import retarget
from magicdance_core.puppets import Choreography, Identity, puppet_clip

SIDE = 128


def grey(value, width=SIDE, height=SIDE):
    return np.full((height, width, 3), value, np.uint8)


def write_video(path, pictures, times=None, rate=30):
    """Write an H.264 video whose frames start at the given seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 600)
        stream.options = {"crf": "10", "g": "5", "bf": "0"}
        for k, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, 600), round(600 * (times[k] if times else k / rate))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def levels(pictures):
    return [None if p is None else round(float(p.mean())) for p in pictures]


# Times


def timed(times, end):
    return [Timed(t, round(100 * t), next_one - t) for t, next_one in zip(times, [*times[1:], end])]


def test_resampling_shows_a_frame_until_the_next_one():
    shown = list(resample(timed([0, 0.1, 0.2, 0.5, 0.52, 1.0], 1.2), 10))
    assert shown == [0, 10, 20, 20, 20, 50, 52, 52, 52, 52, 100, 100]
    assert list(resample([Timed(0, "a", 0.01)], 30)) == ["a"] and list(resample([], 30)) == []


def test_fast_video_is_thinned_and_slow_video_repeats(tmp_path):
    fast = write_video(tmp_path / "fast.mp4", [grey(4 * k) for k in range(60)], rate=60)
    assert levels(ResampledFrames(fast)) == pytest.approx([8 * k for k in range(30)], abs=5)
    slow = write_video(tmp_path / "slow.mp4", [grey(10 * k) for k in range(20)], rate=15)
    pictures = list(ResampledFrames(slow))
    assert len(pictures) == 40 and len({id(p) for p in pictures}) == 20


def test_variable_frame_rate_is_resampled_evenly(tmp_path):
    times = [0, 0.02, 0.1, 0.2, 0.21, 0.22, 0.3, 0.5]
    path = write_video(tmp_path / "a.mp4", [grey(round(400 * t)) for t in times], times)
    shown = levels(ResampledFrames(path, fps=20))
    begins = [0, *(b - min(b - a, 1 / 20) / 2 for a, b in zip(times, times[1:]))]
    held = [max(t for t, begin in zip(times, begins) if begin <= k / 20) for k in range(11)]
    assert shown[:11] == pytest.approx([400 * t for t in held], abs=5) and len(shown) in (11, 12)


def test_folders_keep_their_frames_and_animations_are_resampled(tmp_path):
    for k in range(3):
        (tmp_path / "folder").mkdir(exist_ok=True)
        Image.fromarray(grey(k)).save(tmp_path / f"folder/{k}.png")
    folder = ResampledFrames(tmp_path / "folder")
    assert levels(folder) == [0, 1, 2] and folder.count == 3 and not folder.timed
    with write_animation(tmp_path / "a.gif", 10) as add:
        for k in range(4):
            add(Image.fromarray(grey(60 * k)))
    assert levels(ResampledFrames(tmp_path / "a.gif")) == pytest.approx(
        [0, 0, 0, 60, 60, 60, 120, 120, 120, 180, 180, 180], abs=9
    )


def test_rotated_video_is_upright(tmp_path):
    import struct

    picture = grey(20, 96, 64)
    picture[:, :48] = 200
    path = write_video(tmp_path / "a.mp4", [picture] * 3)
    upright, clockwise = (struct.pack(">9i", *m) for m in (
        (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), (0, 65536, 0, -65536, 0, 0, 64 << 16, 0, 1 << 30)))  # fmt: skip
    header, track = path.read_bytes().split(b"tkhd", 1)
    path.write_bytes(header + b"tkhd" + track.replace(upright, clockwise, 1))
    shown = next(iter(ResampledFrames(path)))
    assert shown.shape == (96, 64, 3) and shown[:40].mean() > 150 > 60 > shown[56:].mean()


def test_damage_in_the_middle_loses_only_damaged_frames(tmp_path):
    random = np.random.default_rng(0)
    noise = [(grey(5 * k) + random.integers(0, 40, (SIDE, SIDE, 3))).astype(np.uint8) for k in range(40)]
    path = write_video(tmp_path / "a.mp4", noise)
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        places = [(p.pos, p.size) for p in packets]
    for pos, size in places[15:18]:
        content[pos : pos + size] = bytes(size)
    path.write_bytes(content)
    pictures = ResampledFrames(path)
    shown = list(pictures)
    assert len(shown) == 40 and pictures.damaged > 0
    whole = [*range(15), *range(20, 40)]
    assert levels([shown[k] for k in whole]) == pytest.approx(levels([noise[k] for k in whole]), abs=3)


def test_long_gaps_without_pictures_give_none():
    shown = list(resample([Timed(0, "a", 1 / 30), Timed(1.0, "b", 1 / 30)], 30))
    assert shown.count(None) > 20 and (shown[0], shown[-1]) == ("a", "b") and len(shown) == 31


@pytest.mark.parametrize("kind, message", [("empty", "a.mp4"), ("sound", "no picture track"), ("text", "a.mp4")])
def test_other_files_are_refused(tmp_path, kind, message):
    path = tmp_path / "a.mp4"
    if kind == "sound":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=44100, layout="mono")
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 44100
            container.mux(stream.encode(sound))
            container.mux(stream.encode())
    else:
        path.write_bytes(b"" if kind == "empty" else b"no video" * 99)
    with pytest.raises(InputError, match=message):
        ResampledFrames(path)
    with pytest.raises(InputError, match="frame rate is 0"):
        ResampledFrames(path, fps=0)


# Detection over pictures


class Counting:
    def __init__(self):
        self.calls, self.resets = 0, 0

    def reset(self):
        self.resets += 1

    def detect(self, picture):
        self.calls += 1
        body = np.zeros((18, 3), np.float32)
        body[0] = (self.calls, 1, 1)
        return (Person(body),)


def test_repeated_pictures_are_detected_once_and_missing_ones_skipped():
    a, b = grey(1), grey(2)
    detector, done = Counting(), []
    frames = detect([a, a, None, b, b], detector, done.append)
    assert detector.calls == 2 and done == [1, 2, 3, 4, 5]
    detect([a], detector)
    assert detector.resets == 2  # once a video
    assert [len(f.people) for f in frames] == [1, 1, 0, 1, 1] and frames[1].people[0].body[0, 0] == 1


def test_progress_can_stop_and_changed_sizes_are_refused():
    def stop(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detect([grey(0)], Counting(), stop)
    with pytest.raises(InputError, match="128 x 64 pixels, not 128 x 128"):
        detect([grey(0), grey(0, height=64)], Counting())
    with pytest.raises(InputError, match="no picture"):
        detect([], Counting())


def test_memory_does_not_grow_with_the_number_of_pictures():
    def run(count):
        tracemalloc.start()
        detect((grey(k % 256, 256, 256) for k in range(count)), Counting())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = run(20), run(220)
    assert (many - few) / 200 < 6000  # bytes a frame: keypoints, not the picture's 196608


def test_overlay_changes_only_drawn_pixels():
    frame = puppet_clip(Identity.from_seed(0), Choreography.from_seed(0), [0])[0]
    shown, strokes = overlay(grey(90, 96, 64), frame), draw_pose(frame, 96, 64)
    untouched = strokes.max(axis=-1) == 0
    assert shown.shape == (64, 96, 3) and (shown[untouched] == 90).all() and not (shown[~untouched] == 90).all()


# The command


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dance(frames=24, start=0):
    return puppet_clip(Identity.from_seed(2, "test"), Choreography.from_seed(2, "test"), range(start, start + frames))


def test_extract_from_keypoints(work, capsys):
    clip = dance()
    clip[8] = PoseFrame((), 512, 512)
    save_keypoints("dance.json", clip)
    assert main(["extract", "dance.json", "--out", "got", "--smooth", "savitzky-golay"]) == 0
    assert sorted(os.listdir("got")) == ["keypoints.json", "keypoints.npz", "overlay.mp4", "poses", "report.json"]
    assert len(os.listdir("got/poses")) == 24 and Image.open("got/poses/00000.png").size == (512, 512)
    report = json.loads(Path("got/report.json").read_text())
    assert report["frames"] == report["frames_with_person"] == 24 and report["frames_empty"] == 1
    assert report["parts"]["body"] == {"found": 18 * 23, "filled": 18, "lost": 0}
    made = frames_to_points(load_keypoints("got/keypoints.npz"))
    assert np.array_equal(made, frames_to_points(load_keypoints("got/keypoints.json")))
    assert np.linalg.norm(made - frames_to_points(dance()), axis=-1)[:, :130].mean() < 2
    assert "a person in 24 of 24 frames" in capsys.readouterr().out
    assert os.listdir() == ["dance.json", "got"] or sorted(os.listdir()) == ["dance.json", "got"]


def test_extract_from_a_video_of_pose_maps(work):
    maps = [draw_pose(frame, hands=False, face=False) for frame in dance(12)]
    write_video("maps.mp4", maps)
    assert main(["extract", "maps.mp4", "--out", "got", "--detector", "drawn"]) == 0
    made = frames_to_points(load_keypoints("got/keypoints.npz"))[:, :18]
    truth = frames_to_points(dance(12))[:, :18]
    shown = made[..., 2] > 0
    assert shown.mean() > 0.8 and np.linalg.norm(made - truth, axis=-1)[shown].mean() < 2.5


def test_extract_and_retarget(work, capsys):
    person = puppet_clip(other_proportions(Identity.from_seed(5, "test")), Choreography.from_seed(8, "test"), [10])
    save_keypoints("person.npz", person)
    save_keypoints("dance.json", dance())
    assert main(["extract", "dance.json", "--out", "plain"]) == 0
    assert main(["extract", "dance.json", "--out", "fitted", "--retarget", "person.npz"]) == 0
    plain, fitted = load_keypoints("plain/keypoints.npz"), load_keypoints("fitted/keypoints.npz")
    wanted = frames_to_points(retarget(plain, person[0]))
    assert np.array_equal(frames_to_points(fitted), wanted) and not np.array_equal(frames_to_points(plain), wanted)
    assert json.loads(Path("fitted/report.json").read_text())["retarget"] == "person.npz"
    save_keypoints("nobody.npz", [PoseFrame((), 9, 9)])
    assert main(["extract", "dance.json", "--out", "none", "--retarget", "nobody.npz"]) == 2
    assert "reference shows nobody" in capsys.readouterr().err and not Path("none").exists()


def test_extract_without_people_writes_empty_frames(work):
    write_video("black.mp4", [grey(0)] * 5)
    assert main(["extract", "black.mp4", "--out", "got", "--detector", "drawn"]) == 0
    assert json.loads(Path("got/report.json").read_text())["frames_with_person"] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.mp4"], "does not exist"),
        (["black.mp4"], "No pose detector's files were found in models/magicdance_pose"),
        (
            ["black.mp4", "--detector", "dwpose", "--models", "m"],
            "yolox_l.onnx and dw-ll_ucoco_384.onnx are not in m: download them from",
        ),
        (["black.mp4", "--detector", "drawn", "--person", "1"], "no person 1 (nobody was found)"),
        (["black.mp4", "--detector", "drawn", "--person", "me"], "continuity, size"),
        (["black.mp4", "--detector", "drawn", "--fps", "0"], "frame rate is 0"),
        (["black.mp4", "--detector", "drawn", "--max-gap", "-1"], "0 or more"),
        (["other.json"], "lacks 'people'"),
    ],
)
def test_extract_explains_errors_and_leaves_nothing(work, capsys, arguments, message):
    write_video("black.mp4", [grey(0)] * 3)
    Path("other.json").write_text('{"shapes": []}')
    before = sorted(os.listdir())
    assert main(["extract", *arguments, "--out", "got"]) == 2
    error = capsys.readouterr().err
    line = [row for row in re.split(r"[\r\n]", error) if row.startswith("magicdance:")]
    assert len(line) == 1 and message in line[0]
    assert sorted(os.listdir()) == before


def test_extract_does_not_overwrite(work, capsys):
    Path("got").mkdir()
    Path("got/mine.txt").write_text("x")
    save_keypoints("dance.npz", dance(2))
    assert main(["extract", "dance.npz", "--out", "got"]) == 2
    assert os.listdir("got") == ["mine.txt"]
    assert main(["extract", "dance.npz", "--out", "deep/new"]) == 0 and len(os.listdir("deep/new")) == 5


def test_extract_openpose_folder(work):
    Path("json").mkdir()
    for k, frame in enumerate(dance(3)):
        Path(f"json/{k}.json").write_text(json.dumps({"people": frames_to_pose_keypoint([frame])[0]["people"]}))
    assert main(["extract", "json", "--out", "got"]) == 2
    assert main(["extract", "json", "--out", "got", "--width", "512", "--height", "512"]) == 0
    expected = frames_to_pose_keypoint(dance(3))[0]["people"][0]["pose_keypoints_2d"]
    assert json.loads(Path("got/keypoints.json").read_text())[0]["people"][0]["pose_keypoints_2d"] == expected


def test_picture_of_one_pixel(work):
    Path("folder").mkdir()
    Image.new("RGB", (1, 1)).save("folder/a.png")
    assert len(detect(ResampledFrames(Path("folder")), DrawnMapDetector())) == 1
    assert main(["extract", "folder", "--out", "got", "--detector", "drawn"]) == 0
