"""animate with several people of a video, and with other backgrounds."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.commands.scene import Scene, assign
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.pose.segmentation import PersonSegmenter
from magicdance_core.puppets import BodyPose, Identity, draw_puppet, puppet_keypoints

FRAMES, FPS, SIDE = 8, 10, 128


def moved(frame, shift, identity):
    person = frame.people[0]
    parts = {
        part: getattr(person, part) + np.float32([shift, 0, 0]) * (getattr(person, part)[:, 2:] > 0)
        for part in ("body", "left_hand", "right_hand", "face")
    }
    return replace(person, **parts, identity=identity)


def couple(count=FRAMES):
    """Return frames of two people on a wide canvas who lift their arms."""
    frames = []
    for k in range(count):
        pair = [
            puppet_keypoints(Identity.from_seed(seed), BodyPose(right_arm=20 + turn * k, left_arm=90), SIDE)
            for seed, turn in ((1, 10), (2, 5))
        ]
        people = (moved(pair[0], 0, 0), moved(pair[1], SIDE, 1))
        frames.append(PoseFrame(people, 2 * SIDE, SIDE))
    return frames


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    with media.write_animation(folder / "video.mkv", FPS) as add:
        for frame in couple():
            add(Image.fromarray(draw_pose(frame)))
    for number in (1, 2, 3):
        frame = puppet_keypoints(Identity.from_seed(number + 4), BodyPose(), SIDE)
        media.write_picture(folder / f"{number}.png", Image.fromarray(draw_pose(frame)))
    media.write_picture(folder / "place.png", draw_puppet(Identity.from_seed(9), BodyPose(root_x=9), 64))
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    """Finds the two people without a detector: drawn maps are read back for one person only."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("magicdance_core.commands.driving_video._people", lambda *of: couple())
    return tmp_path


def animate(out, *more, references=("1.png",)):
    given = ["animate", "--model", "model", "--out", str(out), "--size", "16", "--steps", "2", "--video", "video.mkv"]
    pictures = [word for name in references for word in ("--reference", name)]
    return main([*given, "--detector", "drawn", "--device", "cpu", *pictures, *map(str, more)])


def frames(folder):
    return np.stack([np.asarray(picture, int) for picture in media.read_frames(Path(folder))])


def test_each_person_of_a_video_gets_a_reference(work, capsys):
    assert animate(work / "both", "--person", "all", references=("1.png", "2.png")) == 0
    made = frames(work / "both")
    assert made.shape == (FRAMES, 16, 32, 3)
    assert animate(work / "swapped", "--person", "all", references=("2.png", "1.png")) == 0
    assert (made != frames(work / "swapped")).any()
    report = json.loads((work / "both.work" / "report.json").read_text())
    assert report["people"] == 2 and set(report["proportions"]) == {"person_0", "person_1"}
    assert "left out" not in capsys.readouterr().out
    assert (work / "both.work" / "everyone.npz").exists()


def test_fewer_references_than_people_are_told(work, capsys):
    assert animate(work / "one", "--person", "all") == 0
    assert "Of 2 people, 1 have a reference; number" in capsys.readouterr().out


def test_more_references_than_people_are_refused(work, capsys):
    assert animate(work / "out", "--person", "all", references=("1.png", "2.png", "3.png")) == 2
    assert "3 references and 2 people in the video" in capsys.readouterr().err
    assert not (work / "out").exists()


def test_a_killed_scene_continues_to_the_same_frames(work, monkeypatch, capsys):
    given = ("--person", "all", "--background", "video")
    assert animate(work / "whole", *given, references=("1.png", "2.png")) == 0
    write = media.write_picture

    def interrupted(path, picture):
        if Path(path).name == "00003.png":
            raise KeyboardInterrupt
        write(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr(media, "write_picture", interrupted)
        assert animate(work / "parts", *given, references=("1.png", "2.png")) == 130
    assert animate(work / "parts", *given, "--resume", references=("1.png", "2.png")) == 0
    assert np.array_equal(frames(work / "whole"), frames(work / "parts"))


def test_a_lost_frame_of_a_scene_is_made_again(work):
    given = ("--person", "all", "--background", "video", "--resume", "--frames-per-batch", "4")
    assert animate(work / "out", *given, references=("1.png", "2.png")) == 0
    whole = frames(work / "out")
    (work / "out" / "00001.png").unlink()
    assert animate(work / "out", *given, references=("1.png", "2.png")) == 0
    assert np.array_equal(frames(work / "out"), whole)


def test_the_video_stays_where_nobody_is(work):
    assert animate(work / "kept", "--person", "all", "--background", "video", references=("1.png", "2.png")) == 0
    made = frames(work / "kept")
    video = np.stack([
        np.asarray(media.fit(picture, 32, 16), int) for picture in media.read_frames(Path("video.mkv"))
    ])  # fmt: skip
    same = (made == video).all(axis=-1)
    assert same[:, 0].mean() > 0.5 and same[:, :, 15:17].mean() > 0.2  # above and between the people
    assert not same.all(axis=(1, 2)).any()


def test_frames_before_another_background_are_not_mixed(work, capsys):
    shutil.copy("place.png", work / "place.png")
    given = ("--person", "1", "--background", work / "place.png")
    assert animate(work / "begun", *given) == 0
    made = (work / "begun" / "00001.png").read_bytes()
    with Image.open("place.png") as place:
        media.write_picture(work / "place.png", place.convert("RGB").rotate(180))
    assert animate(work / "begun", *given, "--resume") == 2
    assert "begun was begun with other background: repeat that" in capsys.readouterr().err
    assert (work / "begun" / "00001.png").read_bytes() == made


def test_people_are_cut_out_by_segmentation(work, monkeypatch, capsys):
    given = ("--person", "all", "--background", "video", "--person-masks", "segmentation")
    two = {"references": ("1.png", "2.png")}
    assert animate(work / "out", *given, "--models", "nowhere", **two) == 2
    assert "networks are not in nowhere: get them with `pip download" in capsys.readouterr().err
    assert not (work / "out").exists()
    crops = []

    def everything(crop):
        crops.append(crop)
        return np.ones(crop.shape[:2], np.float32)

    monkeypatch.setattr("magicdance_core.pose.detectors.mediapipe_files.read_network", lambda *of: b"")
    monkeypatch.setattr(PersonSegmenter, "from_folder", lambda folder: PersonSegmenter(everything))
    assert animate(work / "out", *given, **two) == 0
    video = 2 * 2 * FRAMES  # both people, to look through it and to fill it
    assert video < len(crops) <= video + 2  # in references, which are small, as far as their keypoints are found
    assert animate(work / "plain", *given[:-2], **two) == 0
    assert not np.array_equal(frames(work / "out"), frames(work / "plain"))
    (work / "plain" / "00002.png").unlink()
    assert animate(work / "plain", *given, "--resume", **two) == 2
    assert "person_masks keypoints, not segmentation" in capsys.readouterr().err
    assert animate(work / "alone", "--person-masks", "segmentation") == 2
    assert "--person-masks cuts people out of a video" in capsys.readouterr().err


@pytest.mark.parametrize("background", ["video", "place.mkv"])
def test_damaged_pictures_at_the_beginning_are_held(work, folder, monkeypatch, capsys, background):
    pictures = [np.full((SIDE, 2 * SIDE, 3), 20 * k, np.uint8) for k in range(FRAMES)]
    damaged = [None, None, pictures[2], None, *pictures[4:]]
    held = [pictures[2]] * 4 + pictures[4:]
    shown = []

    def run(out, source):
        monkeypatch.setattr(Scene, "_background_pictures", lambda scene: iter(source))
        assert animate(work / out, "--background", background) == 0
        shown.append(capsys.readouterr().out)
        return frames(work / out)

    (folder / "place.mkv").touch()
    assert np.array_equal(run("damaged", damaged), run("held", held))
    line = "The first 2 pictures of the background are damaged: the first that can be read is shown in place."
    assert line in shown[0] and "damaged" not in shown[1].split("frames of")[0]


def test_another_place(work):
    assert animate(work / "place", "--person", "1", "--background", "place.png") == 0
    made, place = frames(work / "place"), np.asarray(media.fit(Image.open("place.png").convert("RGB"), 32, 16), int)
    same = (made == place).all(axis=-1)
    assert same[:, :, :12].all() and not same[:, :, 16:].all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--background", "nothing.png"), "nothing.png does not exist"),
        (("--background", "video", "--match-beat"), "--match-beat moves the motion in time"),
        (("--background", "1.mp3"), "does not exist"),
    ],
)
def test_bad_options_of_a_scene_are_refused(work, capsys, more, message):
    assert animate(work / "out", *more) == 2
    assert message in capsys.readouterr().err and not (work / "out").exists()


def test_a_background_needs_a_video(work, capsys):
    given = ["animate", "--model", "model", "--reference", "1.png", "--poses", "video.mkv", "--out", str(work / "x")]
    assert main([*given, "--background", "video"]) == 2
    assert "--background needs a driving video" in capsys.readouterr().err


def test_references_go_to_the_largest_people_in_the_order_of_the_numbers():
    everyone = couple()
    half = [
        replace(frame, people=(replace(frame.people[0], body=frame.people[0].body * np.float32([0.5, 0.5, 1])),
                               frame.people[1]))
        for frame in everyone
    ]  # fmt: skip
    assert assign(everyone, 2)[0] == [0, 1] and assign(half, 1)[0] == [1]
    with pytest.raises(InputError, match="shows nobody"):
        assign([PoseFrame((), 8, 8)], 1)
