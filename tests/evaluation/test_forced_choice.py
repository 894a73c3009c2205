"""Distractors differ from the truth in one thing only, and the nearer picture wins."""

import numpy as np
import pytest

from magicdance_core.evaluation.forced_choice import (
    BACKGROUND,
    MIN_MOUTH_DIFFERENCE,
    MOUTH_AND_EYES,
    distractors,
    hand_mask,
    other_expression,
    other_person,
    prefers_truth,
)
from magicdance_core.evaluation.metrics import to_float
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_keypoints
from magicdance_core.puppets.body_pose import FIELDS


@pytest.mark.parametrize("seed", range(5))
def test_another_expression_is_another_mouth_on_the_same_body(seed):
    body = Choreography.from_seed(seed, "test").pose(17 * seed)
    other = other_expression(body, seed)
    assert abs(other.mouth_open - body.mouth_open) >= MIN_MOUTH_DIFFERENCE
    assert {name for name in FIELDS if getattr(body, name) != getattr(other, name)} <= set(MOUTH_AND_EYES)


def test_another_person_has_the_same_background():
    identity = Identity.from_seed(3, "test")
    other = other_person(identity)
    assert all(getattr(other, name) == getattr(identity, name) for name in BACKGROUND)
    assert (other.skin, other.top_colour) != (identity.skin, identity.top_colour)


def test_distractors_have_the_pose_of_the_truth():
    identity, body = Identity.from_seed(1, "test"), Choreography.from_seed(1, "test").pose(40)
    truth, others = to_float(draw_puppet(identity, body, 48)), distractors(identity, body, 1, 48)
    assert set(others) == {"expression", "identity"}
    changed = {name: (np.abs(truth - other).max(axis=-1) > 0.02).mean() for name, other in others.items()}
    assert 0 < changed["expression"] < 0.05 < changed["identity"] < 0.5  # a face, a person, never the scene
    assert (truth[:4, :4] == others["identity"][:4, :4]).all()
    assert (
        prefers_truth(truth, truth, others["identity"]) == 1
        and prefers_truth(others["expression"], truth, truth) == 0.5
    )


def test_squared_error_decides():
    truth, distractor = np.zeros((2, 2, 3)), np.ones((2, 2, 3))
    assert [prefers_truth(np.full((2, 2, 3), value), truth, distractor) for value in (0.4, 0.5, 0.6)] == [1, 0.5, 0]


def test_hand_mask_covers_the_hands_and_little_else():
    frame = puppet_keypoints(Identity.from_seed(0, "test"), Choreography.from_seed(0, "test").pose(30), 64)
    mask, person = hand_mask(frame), frame.people[0]
    for hand in (person.left_hand, person.right_hand):
        columns, rows = hand[:, :2].astype(int).T
        assert mask[rows.clip(0, 63), columns.clip(0, 63)].all()
    assert 0 < mask.mean() < 0.2
    assert not hand_mask(type(frame)((), 8, 8)).any()
