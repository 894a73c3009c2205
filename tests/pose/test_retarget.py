"""Retargeting the motion of one puppet to another, compared with the other's true keypoints."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.pose_accuracy import other_proportions, retargeting_errors
from magicdance_core.errors import InputError
from magicdance_core.pose import PoseFrame
from magicdance_core.pose.keypoints import SLICES, frames_to_points, points_to_frames
from magicdance_core.pose.retarget import retarget
from magicdance_core.puppets import Choreography, Identity, puppet_clip, puppet_keypoints

MOMENTS = range(0, 150, 10)
LEGS = [9, 10, 12, 13]


def clip(seed, dance=0, child=False, moments=MOMENTS):
    identity = Identity.from_seed(seed, "test")
    return puppet_clip(
        other_proportions(identity) if child else identity, Choreography.from_seed(dance, "test"), moments
    )


def without(frames, points):
    made = frames_to_points(frames)
    made[:, points] = 0
    return points_to_frames(made, frames[0].width, frames[0].height)


def distance(made, truth, points=slice(0, 130)):
    made, truth = frames_to_points(made)[:, points], frames_to_points(truth)[:, points]
    return np.linalg.norm(made[..., :2] - truth[..., :2], axis=-1)[made[..., 2] > 0].mean() / 5.12


def test_within_two_percent_of_the_truth():
    figures = retargeting_errors(pairs=32, moments=range(0, 300, 20))
    assert figures["after"] < 2 and figures["after"] < 0.8 * figures["before"]


def test_within_two_percent_from_a_child():
    figures = retargeting_errors(pairs=32, moments=range(0, 300, 20), child=True)
    assert figures["after"] < 2 and figures["after"] < 0.2 * figures["before"]


def test_retargeting_to_the_same_person_changes_nothing():
    own = clip(0)
    assert distance(retarget(own, own[0], like=0, position="driving"), own) < 0.01
    assert distance(retarget(own, own[4]), own) < 2


def test_a_matching_frame_gives_precise_lengths():
    driving, truth = clip(1001, child=True), clip(1)
    for like in (0, 7):
        assert distance(retarget(driving, truth[like], like=like), truth) < 2.5


def test_another_canvas_keeps_the_proportions_of_people():
    driver, person = Identity.from_seed(1002, "test"), Identity.from_seed(2, "test")
    dance = Choreography.from_seed(2, "test")
    wide = [puppet_keypoints(driver, dance.pose(k), 960, 540) for k in MOMENTS]
    tall = [puppet_keypoints(person, dance.pose(k), 512, 768) for k in MOMENTS]
    made = retarget(wide, tall[0])
    assert (made[0].width, made[0].height) == (512, 768)
    error = np.linalg.norm(frames_to_points(made) - frames_to_points(tall), axis=-1)[:, :130].mean()
    assert error < 0.02 * 512


def test_feet_stay_on_the_ground():
    driving, person = clip(1003, 3, child=True, moments=range(60)), clip(3, 3, moments=range(60))
    made = frames_to_points(retarget(driving, person[0]))[:, [10, 13], 1].max(axis=1)
    truth = frames_to_points(person)[:, [10, 13], 1].max(axis=1)
    assert np.abs(made - truth).max() < 0.02 * 512


def test_person_moves_to_the_reference_or_stays():
    driving, reference = clip(1004, 4), clip(4, 4)[0]
    aside = points_to_frames(frames_to_points([reference]) + [400, 0, 0], 1024, 512)[0]
    centre = np.median(frames_to_points(retarget(driving, aside))[:, [8, 11], 0])
    assert centre == pytest.approx(aside.people[0].body[[8, 11], 0].mean(), abs=20)
    kept = np.median(frames_to_points(retarget(driving, aside, position="driving"))[:, [8, 11], 0])
    assert kept == pytest.approx(512, abs=30)


def test_half_body_reference_lets_the_legs_leave():
    driving, truth = clip(1005, 5, child=True), clip(5, 5)
    half = without(truth[:1], LEGS)[0]
    made = retarget(driving, half)
    assert frames_to_points(made)[:, LEGS, 2].all()
    assert distance(made, truth, slice(0, 8)) < 4


def test_half_body_driving_gets_the_reference_legs():
    driving, truth = without(clip(1006, 6, child=True), LEGS), clip(6, 6)
    made = frames_to_points(retarget(driving, truth[0]))
    assert made[:, LEGS, 2].all()
    legs = made[:, LEGS, :2] - made[:, [8, 8, 11, 11], :2]
    reference = truth[0].people[0].body
    assert legs == pytest.approx(
        np.broadcast_to(reference[LEGS, :2] - reference[[8, 8, 11, 11], :2], legs.shape), abs=1
    )
    assert not frames_to_points(retarget(driving, truth[0], fill_missing=False))[:, LEGS].any()


def test_a_talking_head_gets_the_body_of_the_reference():
    driving, truth = clip(1007, 7), clip(7, 7)
    head = without(driving, [*range(1, 14), *range(SLICES["right_hand"].start, SLICES["left_hand"].stop)])
    head[1] = without(driving[1:2], [*range(3, 14)])[0]  # a neck in one frame of many is not shown
    made = frames_to_points(retarget(head, truth[0]))
    reference = frames_to_points(truth[:1])[0]
    assert (made[:, :14, 2] > 0).all() and (made[:, 0, :2] != made[0, 0, :2]).any()
    offsets = made[:, 2:14, :2] - made[:, 1:2, :2]
    assert offsets == pytest.approx(np.broadcast_to(reference[2:14, :2] - reference[1, :2], offsets.shape), abs=1)
    nose = np.ptp(made[:, 0, :2], axis=0)
    assert (np.ptp(made[:, 1, :2], axis=0) <= nose).all()
    assert not frames_to_points(retarget(head, truth[0], fill_missing=False))[2:, 1:14].any()


def test_head_and_shoulders_alone_are_retargeted():
    driving, truth = clip(1007, 7, child=True), clip(7, 7)
    below = [*range(8, 14)]
    made = retarget(without(driving, below), without(truth[:1], below)[0])
    face = slice(SLICES["face"].start, SLICES["face"].stop)
    sizes = [np.ptp(frames_to_points(f)[:, face, 1], axis=1).mean() for f in (made, truth)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.12)


def test_missing_points_and_frames_stay_missing_and_do_not_shift_the_others():
    driving, truth = clip(1008, 8), clip(8, 8)
    broken = frames_to_points(driving)
    broken[3, [3, 6]], broken[5], broken[7, [10, 13]] = 0, 0, 0
    made = frames_to_points(retarget(points_to_frames(broken, 512, 512), truth[0]))
    whole = frames_to_points(retarget(driving, truth[0]))
    assert not made[5].any() and not made[3, [3, 6]].any() and made[3, 4, 2] > 0
    there = made[..., 2] > 0
    assert np.linalg.norm(made - whole, axis=-1)[there].max() < 0.06 * 512


def test_poses_that_cannot_be_fitted_are_refused():
    frames = clip(0)
    nobody = PoseFrame((), 64, 64)
    hands = without(frames[:1], slice(0, 18))
    for call, message in (
        (lambda: retarget(frames, nobody), "reference pose shows nobody"),
        (lambda: retarget([nobody], frames[0]), "No driving frame"),
        (lambda: retarget(hands, frames[0]), "reference has hips and neck and nose and the driving poses none"),
        (lambda: retarget(frames, frames[0], like=99), "no driving frame 99"),
        (lambda: retarget([nobody.scaled(512, 512), *frames], frames[0], like=0), "shows nobody"),
        (lambda: retarget(frames, frames[0], position="left"), "position"),
        (lambda: retarget(frames, frames[0], trust=2), "trust"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_the_largest_person_of_the_reference_is_used():
    reference = clip(9, 9)[0]
    small = replace(reference.scaled(100, 100), width=512, height=512)
    both = PoseFrame((small.people[0], reference.people[0]), 512, 512)
    driving = clip(1009, 9)
    assert distance(retarget(driving, both), retarget(driving, reference)) == 0


def test_retargeting_in_place_keeps_place_and_size_and_changes_proportions():
    driving, truth = clip(1004, 4, child=True), clip(4, 4)
    large = [frame.scaled(1024, 1024) for frame in truth]
    made = retarget(driving, large[0], position="in place")
    assert {(frame.width, frame.height) for frame in made} == {(512, 512)}
    before, after = (frames_to_points(frames) for frames in (driving, made))
    hips = [points[:, [8, 11], :2].mean(axis=1) for points in (before, after)]
    assert np.abs(hips[0] - hips[1])[:, 0].max() < 6
    heights = [np.ptp(points[:, :14, 1], axis=1).mean() for points in (before, after)]
    assert heights[1] == pytest.approx(heights[0], rel=0.1)
    own = retarget(driving, driving[0].scaled(256, 256), position="in place")
    assert distance(own, driving) < 1
