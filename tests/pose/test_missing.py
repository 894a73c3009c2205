"""What the report of an extraction says in words."""

import numpy as np

from magicdance_core.pose.extraction import follow
from magicdance_core.pose.keypoints import POINTS, SLICES, points_to_frames
from magicdance_core.pose.missing import longest_run, missing_in_words


def whole(frames):
    points = np.ones((frames, POINTS, 3), np.float32)
    points[..., :2] = np.random.default_rng(0).uniform(10, 90, (POINTS, 2))
    return points


def test_a_whole_person_misses_nothing():
    assert missing_in_words(whole(5)) == []


def test_parts_that_are_missing_together_share_a_sentence():
    points = whole(10)
    points[3:7, [0, 14, 15]] = 0
    points[3:7, SLICES["face"]] = 0
    points[:, [10, 13]] = 0
    points[[1, 8], SLICES["left_hand"]] = 0
    assert missing_in_words(points) == [
        "The nose, right eye, left eye and face were missing in 4 of 10 frames with the person, in a row from frame 3.",
        "The right ankle and left ankle were missing in all 10 frames with the person.",
        "The left hand was missing in 2 of 10 frames with the person.",
    ]


def test_a_person_who_leaves_is_told_first_and_the_rest_refers_to_the_other_frames():
    points = whole(10)
    points[[0, 4, 5, 6]] = 0
    points[[2, 7, 8], SLICES["right_hand"]] = 0
    assert missing_in_words(points) == [
        "Nobody was found in 4 of 10 frames, at most 3 in a row, from frame 4.",
        "The right hand was missing in 3 of 6 frames with the person, at most 2 in a row, from frame 7.",
    ]
    assert missing_in_words(np.zeros((3, POINTS, 3))) == ["Nobody was found in all 3 frames."]


def test_an_ear_behind_the_head_and_feet_are_not_told():
    points = whole(4)
    points[:, 16], points[:, SLICES["feet"]] = 0, 0
    assert missing_in_words(points) == []


def test_longest_run():
    assert longest_run(np.array([1, 0, 1, 1, 0, 1, 1], bool)) == (2, 2)
    assert longest_run(np.zeros(3, bool)) == (0, 0) and longest_run(np.ones(3, bool)) == (0, 3)


def test_a_head_turned_away_for_long_has_no_face_and_a_short_gap_is_filled():
    points = whole(60)
    face = [0, 14, 15, *range(POINTS)[SLICES["face"]]]
    for gap in (slice(5, 10), slice(20, 50)):
        points[gap, face] = 0
    extraction = follow(points_to_frames(points, 100, 100), max_gap=15)
    shown = [bool(frame.people[0].face[:, 2].any()) for frame in extraction.frames]
    assert all(shown[:20]) and not any(shown[20:50]) and all(shown[50:])
    (sentence,) = extraction.report["missing"]
    assert sentence.endswith("face were missing in 30 of 60 frames with the person, in a row from frame 20.")
