"""Keypoint formats are read as they were written."""

import json

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.pose import Person, PoseFrame, frames_from_pose_keypoint, frames_to_pose_keypoint
from magicdance_core.pose.detectors.dwpose import person_from_wholebody
from magicdance_core.pose.keypoint_files import load_archive, load_keypoints, save_archive, save_keypoints
from magicdance_core.pose.keypoints import PARTS, frames_to_points, person_to_points, points_to_frames, points_to_person
from magicdance_core.puppets import Choreography, Identity, puppet_clip

SEEDS = range(25)


def points(random, count, width, height, corner=False):
    """Points with some missing, some out of the canvas; in a corner all within two pixels of the origin."""
    xy = random.uniform(-0.2, 1.2, (count, 2)) * ([1, 1] if corner else [width, height])
    made = np.c_[xy, random.uniform(0.01, 1, count)].astype(np.float32)
    made[random.random(count) < 0.3] = 0
    return made


def person(random, width=96, height=128, identity=None):
    parts = {
        part: points(random, count, width, height, corner=random.random() < 0.2)
        for part, count in PARTS.items()
        if part == "body" or random.random() < 0.7
    }
    return Person(**parts, identity=identity)


def frames(seed):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(random.integers(1, 5)):
        width, height = (int(side) for side in random.integers(1, 2000, 2))
        people = [person(random, width, height, int(i) if i < 5 else None) for i in random.integers(0, 9, 3)]
        made.append(PoseFrame(tuple(people[: random.integers(0, 4)]), width, height))
    return made


def assert_same(ours, theirs, identities=True):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.width, a.height, len(a.people)) == (b.width, b.height, len(b.people))
        for p, q in zip(a.people, b.people, strict=True):
            assert np.array_equal(person_to_points(p), person_to_points(q))
            assert not identities or p.identity == q.identity


def openpose_people(frame, body=18):
    """The `people` that OpenPose writes for a frame, with a body of 18 or 25 points."""
    people = frames_to_pose_keypoint([frame])[0]["people"]
    for entry, person in zip(people, frame.people):
        if body == 25:
            middle_hip = [[5, 5, 0.5]]  # the format has it, we do not read it
            points = np.concatenate([person.body[:8], middle_hip, person.body[8:], person.feet])
            entry.pop("foot_keypoints_2d", None)
            entry["pose_keypoints_2d"] = points.flatten().tolist()
    return people


@pytest.mark.parametrize("seed", SEEDS)
def test_pose_keypoint_is_lossless(seed):
    made = frames(seed)
    assert_same(made, frames_from_pose_keypoint(json.loads(json.dumps(frames_to_pose_keypoint(made)))))


@pytest.mark.parametrize("seed", SEEDS)
def test_normalised_pose_keypoint_is_scaled_to_pixels(seed):
    random = np.random.default_rng(seed)
    whole = Person(**{part: points(random, count, 96, 128) for part, count in PARTS.items()})
    entry = frames_to_pose_keypoint([PoseFrame((whole,), 96, 128)])[0]
    del entry["coordinates"]
    for key, values in entry["people"][0].items():
        if random.random() < 0.5:  # some parts in fractions, others in pixels
            scaled = np.reshape(values, (-1, 3)) / [96, 128, 1]
            entry["people"][0][key] = scaled.flatten().tolist()
    back = frames_from_pose_keypoint(entry, threshold=0)[0].people[0]
    assert person_to_points(back) == pytest.approx(person_to_points(whole), abs=1e-4)


@pytest.mark.parametrize("body", [18, 25])
@pytest.mark.parametrize("seed", SEEDS)
def test_openpose_json_is_lossless(seed, body):
    for frame in frames(seed):
        moved = [person_to_points(person) + [9, 9, 0] for person in frame.people]
        identities = [person.identity for person in frame.people]
        far = PoseFrame(tuple(map(points_to_person, moved, identities)), 5000, 9)
        data = json.loads(json.dumps({"people": openpose_people(far, body)}))
        assert all(len(p["pose_keypoints_2d"]) == 3 * body for p in data["people"])
        visible = [points * (points[:, 2:] > 0) for points in moved]
        expected = PoseFrame(tuple(map(points_to_person, visible, identities)), 5000, 9)
        assert_same([expected], frames_from_pose_keypoint(data, 5000, 9, threshold=0))


def test_wholebody_points_go_to_openpose_joints():
    whole = np.c_[np.arange(133), np.zeros(133), np.ones(133)].astype(np.float32)
    read = person_from_wholebody(whole)
    right_arm, left_arm, right_leg, left_leg = (6, 8, 10), (5, 7, 9), (12, 14, 16), (11, 13, 15)
    expected = [0, 5.5, *right_arm, *left_arm, *right_leg, *left_leg, 2, 1, 4, 3]
    assert read.body[:, 0].tolist() == expected
    assert read.feet[:, 0].tolist() == list(range(17, 23))
    assert read.face[:, 0].tolist() == [*range(23, 91), 0, 0] and not read.face[68:].any()
    assert read.left_hand[:, 0].tolist() == list(range(91, 112))
    assert read.right_hand[:, 0].tolist() == list(range(112, 133))


def test_wholebody_neck_is_computed_and_threshold_applied():
    whole = np.zeros((133, 3), np.float32)
    whole[5], whole[6] = (30, 10, 0.9), (10, 20, 0.4)
    assert person_from_wholebody(whole).body[1] == pytest.approx([20, 15, 0.4])
    kept = person_from_wholebody(whole, threshold=0.5).body
    assert kept[5, 2] > 0 and not kept[2].any() and not kept[1].any()
    with pytest.raises(InputError, match="shape"):
        person_from_wholebody(np.zeros((17, 3)))


@pytest.mark.parametrize("seed", SEEDS)
def test_archive_is_lossless(seed, tmp_path):
    save_archive(tmp_path / "a.npz", frames(seed))
    assert_same(frames(seed), load_archive(tmp_path / "a.npz"))


@pytest.mark.parametrize("seed", SEEDS[:5])
def test_points_array_is_lossless(seed):
    random = np.random.default_rng(seed)
    made = [PoseFrame((person(random),) if k % 3 else (), 96, 128) for k in range(6)]
    assert_same(made, points_to_frames(frames_to_points(made), 96, 128))


@pytest.mark.parametrize("name", ["a.npz", "a.json"])
def test_keypoint_files_are_lossless(tmp_path, name):
    save_keypoints(tmp_path / name, frames(3))
    assert_same(frames(3), load_keypoints(tmp_path / name))


def test_frames_without_people_take_the_canvas_of_their_neighbour():
    full = frames_to_pose_keypoint(frames(3))[0]
    data = [None, {"people": None, "canvas_width": 7, "canvas_height": 9}, None, full]
    made = frames_from_pose_keypoint(data)
    assert [(f.width, f.height) for f in made[:3]] == [(7, 9)] * 3 and not any(f.people for f in made[:3])
    assert_same(made[3:], frames(3)[:1])
    with pytest.raises(InputError, match="canvas size"):
        frames_from_pose_keypoint([None])


def dancer(seed, moment=30):
    """A puppet's keypoints, and the same as a POSE_KEYPOINT dict of another pack, on 512 x 512 pixels."""
    (frame,) = puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), [moment])
    (entry,) = frames_to_pose_keypoint([frame])
    del entry["coordinates"]
    return frame.people[0], entry


@pytest.mark.parametrize("lost, right", [(1, 0.97), (5, 0.95), (15, 0.85)])
def test_landmarks_are_numbered_in_faces_without_the_missing_ones(lost, right):
    random, same = np.random.default_rng(0), []
    for seed in range(20):
        person, entry = dancer(seed)
        kept = np.sort(random.choice(70, 70 - lost, replace=False))
        entry["people"][0]["face_keypoints_2d"] = person.face[kept].flatten().tolist()
        face = frames_from_pose_keypoint(entry)[0].people[0].face
        assert sorted(map(tuple, face[face[:, 2] > 0])) == sorted(
            map(tuple, person.face[kept])
        )  # none is lost or moved
        same.append((face[kept] == person.face[kept]).all(axis=1).mean())
    assert np.mean(same) > right


@pytest.mark.parametrize("count", [0, 1, 2, 3, 71])
def test_faces_with_any_number_of_landmarks(count):
    person, entry = dancer(3)
    points = np.concatenate([person.face, [[5, 5, 1]]])[:count]
    entry["people"][0]["face_keypoints_2d"] = points.flatten().tolist()
    face = frames_from_pose_keypoint(entry)[0].people[0].face
    assert np.count_nonzero(face[:, 2]) == min(count, 70)
    assert count < 71 or np.array_equal(face, person.face)
    entry["people"][0]["face_keypoints_2d"] = [1.0] * 3 * 72
    with pytest.raises(InputError, match="has 72 points"):
        frames_from_pose_keypoint(entry)


def test_missing_hand_points_of_controlnet_aux_are_dropped():
    person, entry = dancer(3)
    hand = person.left_hand / [512, 512, 1]
    hand[[4, 8]] = -1 / 512, -1 / 512, 1
    entry["people"][0]["hand_left_keypoints_2d"] = hand.flatten().tolist()
    read = frames_from_pose_keypoint(entry)[0].people[0].left_hand
    assert not read[[4, 8]].any() and np.allclose(np.delete(read, [4, 8], 0), np.delete(person.left_hand, [4, 8], 0))


def test_swapped_hands_of_sdpose_are_exchanged():
    person, entry = dancer(3)
    people = entry["people"][0]
    left, right = people["hand_left_keypoints_2d"], people["hand_right_keypoints_2d"]
    for hands in ((left, right), (right, left)):
        people["hand_left_keypoints_2d"], people["hand_right_keypoints_2d"] = hands
        read = frames_from_pose_keypoint(entry)[0].people[0]
        assert np.array_equal(read.left_hand, person.left_hand) and np.array_equal(read.right_hand, person.right_hand)


def test_openpose_folder_needs_a_size(tmp_path):
    made = frames(4)[0]
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(json.dumps({"people": openpose_people(made)}))
    with pytest.raises(InputError, match="give its width and height"):
        load_keypoints(tmp_path)
    assert len(load_keypoints(tmp_path, 30, 40)) == 3


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.json", b"{", "not JSON"),
        ("a.json", b"\xff\xfe", "not JSON"),
        ("a.json", b'{"version": "ap10k", "animals": []}', "lacks 'people'"),
        ("a.json", b"[]", "no pose frames"),
        ("a.npz", b"PK\x03\x04 broken", "not a keypoint archive"),
        ("a.npz", b"", "not a keypoint archive"),
    ],
)
def test_files_of_other_formats_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_keypoints(tmp_path / name)


def test_archives_of_other_formats_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    np.savez(tmp_path / "pickle.npz", points=np.array([{}], object))
    wrong = {"identities": np.zeros(2, np.int64), "people": np.array([9]), "sizes": np.ones((1, 2), np.int32)}
    np.savez(tmp_path / "wrong.npz", points=np.zeros((2, 136, 3)), **wrong)
    for name, message in (
        ("other", "not a keypoint archive"),
        ("pickle", "not a keypoint archive"),
        ("wrong", "do not match"),
    ):
        with pytest.raises(InputError, match=message):
            load_archive(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("values", [[float("nan")] * 54, [1e400, 5, 1] * 18, [3, 4, -1] * 18])
def test_points_that_are_not_finite_are_missing(values):
    entry = {"people": [{"pose_keypoints_2d": values}], "canvas_width": 9, "canvas_height": 9}
    assert not frames_from_pose_keypoint(entry)[0].people
