"""Masks of people from their keypoints, against what drawn people really cover."""

from dataclasses import replace

import numpy as np
import pytest

from magicdance_core.pose.keypoints import Person, PoseFrame
from magicdance_core.pose.person_masks import front_to_back, half_shoulders, person_mask, person_masks
from magicdance_core.puppets import BodyPose, Choreography, Identity, puppet_keypoints, puppet_mask

SIDE = 128


def puppet(seed, split="test", **pose):
    identity, body = Identity.from_seed(seed, split), Choreography.from_seed(seed, split).pose(17 * seed % 300)
    body = replace(body, **pose) if pose else body
    return puppet_keypoints(identity, body, SIDE), puppet_mask(identity, body, SIDE)


def test_masks_overlap_the_truth_and_their_margin_contains_it():
    overlaps, recalls = [], []
    for seed in range(24):
        frame, truth = puppet(seed)
        tight, wide = person_mask(frame.people[0], SIDE, SIDE, 0, 0), person_mask(frame.people[0], SIDE, SIDE)
        overlaps.append(np.minimum(tight, truth).sum() / np.maximum(tight, truth).sum())
        recalls.append(np.minimum(wide, truth).sum() / truth.sum())
    assert np.mean(overlaps) > 0.8 and np.mean(recalls) > 0.97


def test_masks_scale_with_the_person_and_stay_in_range():
    frame, _ = puppet(3)
    small = person_mask(frame.people[0], SIDE, SIDE)
    large = person_mask(frame.scaled(4 * SIDE, 4 * SIDE).people[0], 4 * SIDE, 4 * SIDE)
    assert small.dtype == np.float32 and 0 <= small.min() and small.max() <= 1
    shrunk = large.reshape(SIDE, 4, SIDE, 4).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 0.01


@pytest.mark.parametrize("part", ["face", "left_hand", "right_hand"])
def test_missing_parts_are_guessed_from_the_body(part):
    frame, truth = puppet(5)
    person = replace(frame.people[0], **{part: 0 * getattr(frame.people[0], part)})
    mask = person_mask(person, SIDE, SIDE)
    assert np.minimum(mask, truth).sum() / truth.sum() > 0.88


def test_a_head_alone_and_nobody():
    frame, _ = puppet(5)
    head = Person(face=frame.people[0].face)
    assert 0 < half_shoulders(head) < SIDE / 4
    mask = person_mask(head, SIDE, SIDE)
    face = frame.people[0].face[:, :2].astype(int)
    assert mask[face[:, 1], face[:, 0]].min() > 0.9 and mask.mean() < 0.4
    assert not person_mask(Person(), SIDE, SIDE).any()
    assert person_masks(PoseFrame((), SIDE, SIDE)).shape == (0, SIDE, SIDE)


def test_the_nearer_person_hides_the_other():
    behind, front = puppet(1)[0].people[0], puppet(2)[0].people[0]
    lower = replace(front, body=front.body + np.float32([0, 20, 0]) * (front.body[:, 2:] > 0))
    frame = PoseFrame((behind, lower), SIDE, SIDE)
    assert front_to_back(frame.people) == [1, 0]
    hidden, whole = person_masks(frame), person_masks(frame, hide=False)
    assert np.array_equal(hidden[1], whole[1]) and (hidden[0] <= whole[0]).all()
    assert hidden.sum(axis=0).max() <= 1 + 1e-6 and hidden[0][whole[1] == 1].max() == 0


def test_a_person_beyond_the_border_is_cut():
    identity = Identity.from_seed(4)
    frame = puppet_keypoints(identity, BodyPose(root_x=-0.5), SIDE)
    mask = person_mask(frame.people[0], SIDE, SIDE)
    assert mask[:, :10].any() and not mask[:, SIDE // 2 :].any()
