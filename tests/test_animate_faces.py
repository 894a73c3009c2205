"""animate with the face pass: files and folders, resuming in any stage, bad input."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.commands.animation import Animation
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.pose.face_crops import face_crop
from magicdance_core.pose.keypoint_files import save_keypoints

FRAMES, SIDE = 5, 64


@pytest.fixture(scope="module")
def scene():
    return make_scene(0, range(FRAMES), SIDE)


@pytest.fixture(scope="module")
def folder(make_tiny, scene, tmp_path_factory):
    """A model of 32 pixels, a reference, and keypoints of 64."""
    folder = tmp_path_factory.mktemp("faces")
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    media.write_picture(folder / "person.png", scene.reference)
    save_keypoints(folder / "poses.npz", scene.keypoints)
    save_keypoints(folder / "person.npz", [scene.reference_keypoints])
    for i, pose in enumerate(scene.poses):
        media.write_picture(folder / f"maps/{i:03d}.png", pose)
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    return tmp_path


def animate(out, *more, poses="poses.npz", person=("--reference-keypoints", "person.npz")):
    given = ["animate", "--model", "model", "--reference", "person.png", "--poses", poses, "--out", str(out), *person]
    return main([*given, "--size", str(SIDE), "--device", "cpu", "--steps", "3", "--frames-per-batch", "2", *more])


def frames(folder):
    return [np.asarray(Image.open(path)) for path in sorted(Path(folder).glob("*.png"))]


def test_faces_are_refined_in_folders_and_files_alike(work, scene):
    assert animate(work / "without", person=()) == 0
    assert animate(work / "with", "--face-pass") == 0
    assert animate(work / "with.png", "--face-pass", "0.5") == 0
    assert sorted(path.name for path in work.iterdir()) == ["with", "with.png", "without"]
    with Image.open(work / "with.png") as animation:
        for number, (before, after) in enumerate(zip(frames(work / "without"), frames(work / "with"), strict=True)):
            animation.seek(number)
            assert np.array_equal(np.asarray(animation.convert("RGB")), after)
            rows, columns = np.where((before != after).any(axis=-1))
            crop = face_crop(scene.keypoints[number].people[0])
            assert len(rows) > 100 and abs(rows.mean() - crop.top - crop.side / 2) < crop.side / 4


@pytest.mark.parametrize("stage", ["first", "second"])
def test_a_run_killed_in_either_stage_continues(work, monkeypatch, stage):
    assert animate(work / "whole", "--face-pass", "0.7") == 0
    wanted = frames(work / "whole")
    killed, name = work / "killed", {"first": "_stream", "second": "_refine"}[stage]
    make = getattr(Animation, name)

    def dies(self, *given, **more):
        yield from islice(make(self, *given, **more), 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(Animation, name, dies)
    assert animate(killed, "--face-pass", "0.7") == 130
    monkeypatch.setattr(Animation, name, make)
    if stage == "second":
        assert 0 < len(frames(killed)) < FRAMES
        assert animate(killed, "--face-pass", "0.6", "--resume") == 2
    assert animate(killed, "--face-pass", "0.7", "--resume") == 0
    assert all(np.array_equal(one, other) for one, other in zip(frames(killed), wanted, strict=True))
    assert not killed.with_name("killed.work").exists()
    monkeypatch.setattr(Animation, name, None)  # nothing is left to do
    assert animate(killed, "--face-pass", "0.7", "--resume") == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"poses": "maps"}, "needs keypoints and --poses gives drawn maps"),
        ({"more": ("--face-pass", "0")}, "0 changes nothing"),
        ({"more": ("--face-pass", "1.5")}, "out of range"),
        ({"more": ()}, "--reference-keypoints needs --face-pass or --still-face"),
        ({"person": ("--reference-keypoints", "none.npz")}, "none.npz"),
        ({"person": ()}, "detector"),
        ({"more": ("--face-pass", "--size", "32")}, "No frame shows a face of 8 to 16 pixels"),
    ],
)
def test_bad_input_leaves_nothing(work, capsys, options, message):
    more = options.pop("more", ("--face-pass",))
    assert animate(work / "out", *more, **options) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and "Traceback" not in error
    assert not list(work.iterdir())


def test_a_reference_without_a_face_is_refused(work, scene, capsys):
    from dataclasses import replace

    (person,) = scene.reference_keypoints.people
    faceless = replace(scene.reference_keypoints, people=(replace(person, face=np.zeros((70, 3))),))
    save_keypoints(work / "faceless.npz", [faceless])
    person = ("--reference-keypoints", str(work / "faceless.npz"))
    assert animate(work / "out", "--face-pass", person=person) == 2
    assert "The reference shows no face of at least 8 pixels" in capsys.readouterr().err
    assert not (work / "out").exists()
