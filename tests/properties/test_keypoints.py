"""Any input gives pose frames or an InputError; frames are read as they were written."""

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from magicdance_core.errors import InputError
from magicdance_core.limits import MAX_CANVASES, MAX_PEOPLE
from magicdance_core.pose import PoseFrame, draw_pose, frames_from_pose_keypoint, frames_to_pose_keypoint
from magicdance_core.pose.extraction import follow
from magicdance_core.pose.keypoint_files import load_keypoints, save_keypoints
from magicdance_core.pose.keypoints import PARTS, Person, person_to_points

NUMBERS = st.one_of(
    st.floats(-200, 300), st.integers(-10, 10), st.floats(), st.sampled_from([0, 1, 1e9, -1e20, 1e300, 10**400])
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab:\0", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab:\0", max_size=5), inner, max_size=4),
    max_leaves=12,
)
KEYS = ("pose_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "face_keypoints_2d",
        "foot_keypoints_2d", "person_id")  # fmt: skip


@st.composite
def lists_of_points(draw):
    """Lists with the length of some part, or nearly, of plausible and absurd numbers."""
    count = draw(st.sampled_from([18, 21, 25, 70, 71, 68, 6, 5, 0])) * 3 + draw(st.sampled_from([0, 0, 0, 1]))
    few = draw(st.lists(NUMBERS, min_size=1, max_size=6))
    return (few * (count // len(few) + 1))[:count]


ODD_PEOPLE = st.dictionaries(st.sampled_from(KEYS), st.one_of(lists_of_points(), JSON), max_size=4)
ODD_FRAMES = st.fixed_dictionaries(
    {
        "people": st.one_of(st.lists(ODD_PEOPLE, max_size=3), JSON),
        "canvas_width": st.one_of(st.integers(1, 200), NUMBERS, JSON),
        "canvas_height": st.one_of(st.integers(1, 200), NUMBERS, JSON),
    },
    optional={"coordinates": st.sampled_from(["pixels", "furlongs", None])},
)


@st.composite
def frames(draw, most=3):
    """Valid frames of varied people, some incomplete, some outside the picture."""
    made = []
    for _ in range(draw(st.integers(1, most))):
        random, people = np.random.default_rng(draw(st.integers(0, 2**32))), []
        width, height = draw(st.integers(1, 200)), draw(st.integers(1, 200))
        for number in range(draw(st.integers(0, 3))):
            parts = {}
            for part, count in PARTS.items():
                points = random.uniform(-0.5, 1.5, (count, 3)) * (width, height, 1)
                points[:, 2] = random.uniform(0.01, 1, count) * (
                    random.random(count) < draw(st.sampled_from([0, 0.7, 1]))
                )
                parts[part] = np.where(points[:, 2:] > 0, points, 0).astype(np.float32)
            people.append(Person(**parts, identity=draw(st.none() | st.just(number))))
        made.append(PoseFrame(tuple(people), width, height))
    return made


def same(a, b):
    assert [(f.width, f.height, [p.identity for p in f.people]) for f in a] == [
        (f.width, f.height, [p.identity for p in f.people]) for f in b
    ]
    for first, second in zip(a, b):
        for one, other in zip(first.people, second.people):
            assert (person_to_points(one) == person_to_points(other)).all()


def useful(made):
    """Check what every consumer of frames relies on."""
    for frame in made:
        assert frame.width > 0 and frame.height > 0 and len(frame.people) <= MAX_PEOPLE
        for person in frame.people:
            points = person_to_points(person)
            assert np.isfinite(points).all()
            assert np.abs(points[:, :2]).max() <= MAX_CANVASES * max(frame.width, frame.height)
        try:
            assert draw_pose(frame, 32, 48).shape == (48, 32, 3)
        except InputError:  # stretched to another shape a point may be too far away
            pass
    if made and len({(f.width, f.height) for f in made}) == 1:
        assert all(len(f.people) <= 1 for f in follow(made).frames)


@given(st.one_of(JSON, ODD_FRAMES, st.lists(st.one_of(ODD_FRAMES, st.none()), max_size=3)))
def test_any_pose_keypoint(data):
    try:
        made = frames_from_pose_keypoint(data)
    except InputError as error:
        assert "\n" not in str(error)
        return
    useful(made)


@given(st.one_of(JSON, st.fixed_dictionaries({"people": st.lists(ODD_PEOPLE, max_size=3)})), NUMBERS, NUMBERS)
def test_any_openpose_json(data, width, height):
    try:
        useful(frames_from_pose_keypoint(data, width, height))
    except InputError:
        pass


@given(frames())
def test_formats_are_lossless(tmp_path_factory, made):
    folder = tmp_path_factory.mktemp("files")
    same(frames_from_pose_keypoint(json.loads(json.dumps(frames_to_pose_keypoint(made)))), made)
    for name in ("a.json", "a.npz"):
        save_keypoints(folder / name, made)
        same(load_keypoints(folder / name), made)
    for frame in made:
        (entry,) = frames_to_pose_keypoint([frame])
        (again,) = frames_from_pose_keypoint({"people": entry["people"]}, frame.width, frame.height)
        assert len(again.people) == len(frame.people)


@given(frames(), st.data())
def test_damaged_files(tmp_path_factory, made, data):
    folder = tmp_path_factory.mktemp("files")
    for name in ("a.json", "a.npz"):
        save_keypoints(folder / name, made)
        content = bytearray((folder / name).read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        (folder / name).write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) // 2]))])
        try:
            useful(load_keypoints(folder / name))
        except InputError as error:
            assert name in str(error)


@given(st.binary(max_size=200), st.sampled_from([".json", ".npz"]))
def test_any_bytes(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("files") / f"a{suffix}"
    path.write_bytes(content)
    try:
        useful(load_keypoints(path))
    except InputError as error:
        assert path.name in str(error)


@given(st.dictionaries(st.sampled_from(["points", "identities", "people", "sizes"]), NUMBERS | st.lists(NUMBERS)))
def test_any_archive(tmp_path_factory, arrays):
    path = tmp_path_factory.mktemp("files") / "a.npz"
    arrays = {name: np.array(value, float) for name, value in arrays.items() if not _too_large(value)}
    np.savez(path, **arrays)
    try:
        useful(load_keypoints(path))
    except InputError as error:
        assert "a.npz" in str(error)


def _too_large(value):
    try:
        return not math.isfinite(np.max(np.abs(np.array(value, float)), initial=0))
    except OverflowError:
        return True
