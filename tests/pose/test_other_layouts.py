"""Keypoints of other programs: layouts of bodies, sizes and scores."""

import json
import logging

import numpy as np
import pytest
from bug_reports import CASES, has_cases

from magicdance_core.errors import InputError
from magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
from magicdance_core.pose.keypoint_files import load_keypoints
from magicdance_core.puppets import Choreography, Identity, puppet_clip


@pytest.fixture(scope="module")
def dance():
    return puppet_clip(Identity.from_seed(2), Choreography.from_seed(2), range(6))


def flat(points):
    return np.asarray(points, float).flatten().tolist()


def entry(body, size=(512, 512), **parts):
    person = {"pose_keypoints_2d": flat(body)} | {key: flat(points) for key, points in parts.items()}
    return {"people": [person], "canvas_width": size[0], "canvas_height": size[1]}


def body_of(*entries, **how):
    return [frame.people[0].body for frame in frames_from_pose_keypoint(list(entries), **how)]


def body_25(person):
    middle = (person.body[8] + person.body[11]) / 2
    return np.concatenate([person.body[:8], [middle], person.body[8:], person.feet])


def coco(person):
    rows = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
    return person.body[list(rows)]


def same(read, person, neck=True):
    where = [k for k in range(18) if neck or k != 1]
    return np.allclose(read[where], person.body[where], atol=1e-3)


def test_25_points_are_body_25_or_18_with_toes_by_where_they_are(dance):
    for frame in dance:
        (person,) = frame.people
        (read,) = frames_from_pose_keypoint(entry(body_25(person)), threshold=0)
        assert same(read.people[0].body, person) and np.allclose(read.people[0].feet, person.feet, atol=1e-3)
        toes_and_padding = np.concatenate([person.body, person.feet[[0, 3]], np.zeros((5, 3))])
        (read,) = frames_from_pose_keypoint(entry(toes_and_padding), threshold=0)
        assert same(read.people[0].body, person) and np.allclose(read.people[0].feet[[0, 3]], person.feet[[0, 3]])


def test_one_frame_that_cannot_be_told_follows_the_others(dance):
    (person,) = dance[0].people
    padded = np.concatenate([person.body, np.zeros((7, 3))])
    doubtful = padded.copy()
    doubtful[[8, 9, 11, 12, 14]] = 0
    read = body_of(entry(padded), entry(doubtful), threshold=0)
    assert np.allclose(read[1][15], person.body[15], atol=1e-3) and not read[1][14].any()


@has_cases
def test_25_points_with_a_canvas_from_a_bug_report_are_18():
    read, truth = load_keypoints(CASES / "b25_canvas.json"), load_keypoints(CASES / "kp48.npz")
    assert len(read) == 8
    for frame in read:
        nearest = min(truth, key=lambda other: np.abs(other.people[0].body - frame.people[0].body).max())
        assert np.abs(nearest.people[0].body[:, :2] - frame.people[0].body[:, :2]).max() < 1e-3


def test_other_numbers_of_points_are_read(dance):
    (person,) = dance[0].people
    feet, missing = person.feet, np.zeros((1, 3))
    halpe = np.concatenate([coco(person), missing, missing, missing, feet[[0, 3, 1, 4, 2, 5]]])
    whole = np.concatenate([coco(person), feet, person.face[:68], person.left_hand, person.right_hand])
    blaze = np.zeros((33, 3))
    blaze[[0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]] = coco(person)
    neck = (person.body[2, :2] + person.body[5, :2]) / 2
    for points in (coco(person), np.concatenate([coco(person), feet]), halpe, whole, blaze):
        (frame,) = frames_from_pose_keypoint(entry(points), threshold=0)
        (read,) = frame.people
        assert same(read.body, person, neck=False) and np.allclose(read.body[1, :2], neck, atol=1e-3)
        if len(points) in (23, 26, 133):
            assert np.allclose(read.feet, feet, atol=1e-3)
    assert np.allclose(frames_from_pose_keypoint(entry(whole), threshold=0)[0].people[0].left_hand, person.left_hand)
    twenty = np.concatenate([person.body, feet[[0, 3]]])
    assert same(body_of(entry(twenty), threshold=0)[0], person)


@pytest.mark.parametrize("count, name", [(15, "MPI"), (16, "MPII"), (24, "SMPL"), (136, "Halpe-136"), (22, "points")])
def test_other_layouts_are_named(count, name):
    with pytest.raises(InputError, match=f"has {count} points.*{name if name != 'points' else ''}"):
        frames_from_pose_keypoint(entry(np.ones((count, 3))))


@pytest.mark.parametrize("program, data", [
    ("AlphaPose or COCO results", [{"image_id": "1.jpg", "keypoints": [1, 2, 3] * 17, "score": 2.5}]),
    ("MMPose", {"meta_info": {}, "instance_info": []}),
])  # fmt: skip
def test_files_of_other_programs_are_named(program, data):
    with pytest.raises(InputError, match=f"lacks 'people' .*{program}"):
        frames_from_pose_keypoint(data)


def test_sizes_are_found_where_programs_write_them(dance):
    people = [{"pose_keypoints_2d": flat(frame.people[0].body)} for frame in dance]
    frames = [{"people": [person]} for person in people]
    size = {"width": 512, "height": 384}
    for data in (
        {"frames": frames, **size},
        {"frames": [frame | size for frame in frames]},
        [frame | size for frame in frames],
        {"frames": frames, "canvas_width": 512, "canvas_height": 384},
    ):
        read = frames_from_pose_keypoint(data, threshold=0)
        assert [(frame.width, frame.height) for frame in read] == [(512, 384)] * 6
        assert all(same(a.people[0].body, b.people[0]) for a, b in zip(read, dance))
    assert len(frames_from_pose_keypoint(frames, 512, 384, threshold=0)) == 6
    assert len(frames_from_pose_keypoint(people[0] | {"people": [people[0]]} | size)) == 1
    with pytest.raises(InputError, match="give its width and height"):
        frames_from_pose_keypoint(frames)


def test_a_list_of_openpose_frames_is_read_from_a_file(dance, tmp_path):
    frames = [{"version": 1.3, "people": [{"pose_keypoints_2d": flat(f.people[0].body)}]} for f in dance]
    (tmp_path / "a.json").write_text(json.dumps(frames))
    assert len(load_keypoints(tmp_path / "a.json", 512, 512)) == 6
    with pytest.raises(InputError, match="a.json.*give its width and height"):
        load_keypoints(tmp_path / "a.json")


def test_coordinates_may_be_fractions_or_reach_from_minus_one_to_one(dance):
    frame = dance[0].scaled(512, 256)
    (person,) = frame.people
    fractions = person.body / [512, 256, 1]
    centred = np.c_[fractions[:, :2] * 2 - 1, fractions[:, 2]]
    for points in (fractions, centred):
        assert np.allclose(body_of(entry(points, (512, 256)), threshold=0)[0][:, :2], person.body[:, :2], atol=0.01)


# Scores


def test_points_that_others_scored_low_are_missing(dance):
    (person,) = dance[0].people
    body, hand = person.body.copy(), person.left_hand.copy()
    body[:, 2], hand[:, 2] = 0.9, 0.02
    body[[9, 10], 2] = 0.29, 0.3
    low = entry(body, hand_left_keypoints_2d=hand)
    (read,) = frames_from_pose_keypoint(low)[0].people
    assert not read.body[9].any() and read.body[10].any() and not read.left_hand.any()
    (read,) = frames_from_pose_keypoint(low, threshold=0)[0].people
    assert read.body[9].any() and read.left_hand.any()
    body[:, 2] = 0.1
    assert not frames_from_pose_keypoint(entry(body))[0].people  # nobody, not an empty person


def test_our_own_keypoints_keep_their_low_scores(dance):
    data = frames_to_pose_keypoint(dance)
    for frame in data:
        frame["people"][0]["pose_keypoints_2d"][2::3] = [0.1] * 18
    assert all((frame.people[0].body[:, 2] > 0).all() for frame in frames_from_pose_keypoint(data))


@has_cases
def test_raw_scores_of_a_bug_report_draw_no_legs(caplog):
    with caplog.at_level(logging.WARNING):
        frames = load_keypoints(CASES / "sdpose_low_scores.json", remark=True)
    for frame in frames:
        (person,) = frame.people
        assert not person.body[[9, 10, 12, 13]].any() and not person.left_hand.any()
        assert person.body[[0, 1, 8, 11], 2].all() and person.right_hand.any()
    (line,) = caplog.messages
    assert "score below 0.3 and are left out (--min-score changes it)" in line
    assert load_keypoints(CASES / "sdpose_low_scores.json", threshold=0)[0].people[0].left_hand.any()
