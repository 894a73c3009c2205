"""Masks of people by a network, told apart by keypoints: the rules with a network that answers from a script, and the
real one against the real runtime (golden/segmentation.npz, every 21st value)."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.pose.detectors.mediapipe_files import SEGMENTATION, find_source
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.pose.person_masks import person_mask, person_masks
from magicdance_core.pose.segmentation import CORE_MARGIN, PersonSegmenter
from magicdance_core.puppets import BodyPose, Identity, draw_puppet, puppet_keypoints, puppet_mask

MODELS = Path(os.environ.get("MAGICDANCE_POSE_MODELS") or Path(sys.prefix) / "magicdance_pose")
GOLDEN = Path(__file__).parents[1] / "golden" / "segmentation.npz"
SIDE = 96
BLUE = np.array([0, 0, 255], np.uint8)


def blue(crop):
    """A network that takes everything blue for people."""
    assert crop.shape == (256, 256, 3) and crop.dtype == np.uint8
    return (crop == BLUE).all(axis=-1).astype(np.float32)


def person(seed=1, place=0.0, **pose):
    return puppet_keypoints(Identity.from_seed(seed), BodyPose(root_x=place, **pose), 2 * SIDE, SIDE)


def painted(mask):
    return np.where(mask[..., None], BLUE, np.uint8(90))


def test_what_the_network_sees_around_a_person_is_the_mask():
    frame = person(right_arm=60)
    skirt = np.zeros((SIDE, 2 * SIDE), bool)
    skirt[50:80, 76:116] = True  # wider than legs, which keypoints know alone
    skirt[:, :40] = True  # somebody else, outside of the box
    seen = painted(skirt | (person_mask(frame.people[0], 2 * SIDE, SIDE, 0, 0) > 0.5))
    (mask,) = PersonSegmenter(blue).masks(seen, frame, 0.0, 0.0)
    assert mask.dtype == np.float32 and mask.shape == (SIDE, 2 * SIDE)
    assert mask[51:79, 77:115].min() > 0.99 and mask[:, :40].max() == 0
    assert person_masks(frame, 0.0, 0.0)[0][51:79, 77:115].min() == 0
    grown, soft = (PersonSegmenter(blue).masks(seen, frame, *how)[0] for how in ((0.5, 0.0), (0.0, 0.5)))
    assert grown.sum() > mask.sum() and (grown >= mask).all()
    assert ((soft > 0.1) & (soft < 0.9)).sum() > 4 * ((mask > 0.1) & (mask < 0.9)).sum()


def test_limbs_that_the_network_misses_are_added():
    frame = person(right_arm=90)
    whole = person_mask(frame.people[0], 2 * SIDE, SIDE, 0, 0) > 0.5
    columns = np.flatnonzero(whole.any(axis=0))
    without = whole.copy()
    without[:, : columns[0] + 12] = False  # a hand
    (mask,) = PersonSegmenter(blue).masks(painted(without), frame, 0.0, 0.0)
    core = person_mask(frame.people[0], 2 * SIDE, SIDE, CORE_MARGIN, 0.0)
    assert core[:, : columns[0] + 12].max() == 1 and (mask >= core).all()


def test_where_the_network_fails_keypoints_decide():
    frame = person()
    (mask,) = PersonSegmenter(blue).masks(np.full((SIDE, 2 * SIDE, 3), 90, np.uint8), frame, 0.35, 0.15)
    assert np.array_equal(mask, person_mask(frame.people[0], 2 * SIDE, SIDE, 0.35, 0.15)) and mask.max() == 1


def test_people_who_are_near_each_other_share_what_the_network_sees():
    one, other = person(1, -0.25), person(2, 0.25)
    frame = PoseFrame(one.people + other.people, 2 * SIDE, SIDE)
    everything = painted(np.ones((SIDE, 2 * SIDE), bool))
    masks = PersonSegmenter(blue).masks(everything, frame, 0.0, 0.0)
    assert (np.minimum(*masks) == 0).mean() > 0.99 and masks[0].sum() > 500 < masks[1].sum()
    middle = SIDE - 1
    assert masks[0][:, : middle - 6].sum() > 10 * masks[1][:, : middle - 6].sum()
    assert masks[1][:, middle + 6 :].sum() > 10 * masks[0][:, middle + 6 :].sum()
    hidden = PersonSegmenter(blue).masks(everything, frame, 0.5, 0.0)
    whole = PersonSegmenter(blue).masks(everything, frame, 0.5, 0.0, hide=False)
    assert hidden.sum(axis=0).max() <= 1 + 1e-6 < whole.sum(axis=0).max()


def test_nobody_and_other_sizes():
    segmenter, frame = PersonSegmenter(blue), person()
    picture = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    assert segmenter.masks(picture, replace(frame, people=())).shape == (0, SIDE, 2 * SIDE)
    empty = replace(frame.people[0], body=0 * frame.people[0].body, face=0 * frame.people[0].face)
    assert not segmenter.masks(picture, replace(frame, people=(empty,))).any()
    with pytest.raises(InputError, match="192 x 90 pixels and its keypoints a canvas of 192 x 96"):
        segmenter.masks(picture[:90], frame)
    with pytest.raises(InputError, match="get them with `pip download"):
        PersonSegmenter.from_folder("nowhere")


@pytest.mark.skipif(find_source(MODELS, [SEGMENTATION]) is None, reason=f"MediaPipe's wheel is not in {MODELS}")
def test_the_network_answers_as_the_real_runtime():
    astronaut = pytest.importorskip("skimage.data", reason="scikit-image has the picture").astronaut()
    made = PersonSegmenter.from_folder(MODELS)._network(np.ascontiguousarray(astronaut[::2, ::2]))
    expected = np.load(GOLDEN)["astronaut"]
    assert np.abs(made.ravel()[::21] - expected).max() < 5e-4 and 0.5 < expected.mean() < 0.6


@pytest.mark.skipif(find_source(MODELS, [SEGMENTATION]) is None, reason=f"MediaPipe's wheel is not in {MODELS}")
def test_masks_of_drawn_people_contain_them():
    segmenter, recalls, overlaps = PersonSegmenter.from_folder(MODELS), [], []
    for seed in range(8):
        identity, pose = Identity.from_seed(seed, "test"), BodyPose(right_arm=20 * seed, left_arm=90)
        picture, truth = np.asarray(draw_puppet(identity, pose, 256)), puppet_mask(identity, pose, 256)
        (mask,) = segmenter.masks(picture, puppet_keypoints(identity, pose, 256))
        recalls.append(np.minimum(mask, truth).sum() / truth.sum())
        overlaps.append(np.minimum(mask, truth).sum() / np.maximum(mask, truth).sum())
    assert np.mean(recalls) > 0.9 and np.mean(overlaps) > 0.7
