"""Nodes for several people and other backgrounds."""

import numpy as np
import pytest
import torch

from magicdance_core.pose import frames_to_pose_keypoint
from magicdance_core.pose.keypoints import PoseFrame
from magicdance_core.puppets import BodyPose, Identity, puppet_keypoints

SIDE, FRAMES = 64, 4


def motion(seed, count=FRAMES, place=0.0):
    identity = Identity.from_seed(seed)
    return [
        puppet_keypoints(identity, BodyPose(root_x=place, right_arm=20 + 10 * k), 2 * SIDE, SIDE) for k in range(count)
    ]


@pytest.fixture
def people():
    return [frames_to_pose_keypoint(motion(1, place=-0.5)), frames_to_pose_keypoint(motion(2, 3, place=0.5))]


def bodies(keypoints):
    from magicdance_core.pose import frames_from_pose_keypoint

    return [[person.body for person in frame.people] for frame in frames_from_pose_keypoint(keypoints)]


def test_people_are_combined_and_selected_again(node, people):
    (both,) = node("CombinePeople").combine(*people)
    assert [len(frame) for frame in bodies(both)] == [2, 2, 2, 1]
    for number, one in enumerate(people):
        (alone,) = node("SelectPerson").select(both, number)
        expected = bodies(one)
        assert all(np.allclose(a, b) for frame, known in zip(bodies(alone), expected) for a, b in zip(frame, known))
    (four,) = node("CombinePeople").combine(both, people[0], people[1])
    assert [len(frame) for frame in bodies(four)] == [4, 4, 4, 2]
    with pytest.raises(ValueError, match="`person` is 7 and the keypoints have 0, 1: choose another"):
        node("SelectPerson").select(both, 7)
    other = frames_to_pose_keypoint([PoseFrame((), 10, 10)])
    with pytest.raises(ValueError, match="canvases of 128 x 64 and 10 x 10 pixels"):
        node("CombinePeople").combine(people[0], other)


def test_masks_are_where_people_are(node, people):
    (both,) = node("CombinePeople").combine(*people)
    masks = [node("PersonMask").make(both, person, 0.35, 0.15, "keypoints")[0] for person in (-1, 0, 1)]
    assert all(mask.shape == (FRAMES, SIDE, 2 * SIDE) for mask in masks)
    assert masks[1][:, :, SIDE + 16 :].max() == 0 == masks[2][:, :, : SIDE - 16].max()
    assert torch.equal(torch.maximum(masks[1], masks[2]), masks[0]) and not masks[2][3].any()
    wide = node("PersonMask").make(both, 0, 1.0, 0.0, "keypoints")[0]
    assert wide.sum() > masks[1].sum()
    with pytest.raises(ValueError, match="`person` is 5"):
        node("PersonMask").make(both, 5, 0.3, 0.1, "keypoints")


def test_masks_by_segmentation_need_pictures_and_the_network(node, people, core, comfy, monkeypatch):
    (both,) = node("CombinePeople").combine(*people)
    make, images = node("PersonMask").make, torch.zeros(FRAMES, SIDE, 2 * SIDE, 3)
    with pytest.raises(ValueError, match="`images` is not connected: connect the frames, or choose source = keypoints"):
        make(both, -1, 0.1, 0.0, "segmentation")
    with pytest.raises(ValueError, match="`images` has 2 pictures, `keypoints` has 4 frames"):
        make(both, -1, 0.1, 0.0, "segmentation", images[:2])
    with pytest.raises(ValueError, match="not in .*magicdance_pose: get them with `pip download"):
        make(both, -1, 0.1, 0.0, "segmentation", images)
    segmenter = core("pose.segmentation").PersonSegmenter
    monkeypatch.setattr(segmenter, "from_folder", lambda folder: segmenter(lambda crop: crop[..., 0] / np.float32(255)))
    everyone, first, second = (make(both, person, 0.0, 0.0, "segmentation", images + 1)[0] for person in (-1, 0, 1))
    assert everyone.shape == (FRAMES, SIDE, 2 * SIDE) and torch.equal(torch.maximum(first, second), everyone)
    assert first[:, :, : SIDE - 20].max() == 1 == second[:3, :, SIDE + 20 :].max() and not second[3].any()
    bare = make(both, 0, 0.0, 0.0, "keypoints")[0]
    assert first.sum() > 1.5 * bare.sum()  # the whole box is seen as a person
    unseen = make(both, 0, 0.0, 0.0, "segmentation", images)[0]
    assert torch.equal(unseen, bare)
    assert comfy.bars[-1][-1] == (FRAMES, FRAMES, None)


def test_a_person_is_removed_from_a_video(node, people):
    place = torch.rand(1, SIDE, 2 * SIDE, 3, generator=torch.Generator().manual_seed(0)).mul(255).round().div(255)
    mask = torch.zeros(FRAMES, SIDE, 2 * SIDE)
    for k in range(FRAMES):
        mask[k, 10:30, 20 * k : 20 * k + 15] = 1
    video = torch.where(mask[..., None] > 0, torch.ones(()), place)
    clean, report = node("CleanPlate").clean(video, mask)
    assert (clean - place).abs().max() < 0.02 and report.startswith("0% of what people cover")
    with pytest.raises(ValueError, match="2 masks for 4 frames"):
        node("CleanPlate").clean(video, mask[:2])


def test_regions_and_background_reach_the_sampler(node, held, pose_maps):
    sample = node("Sample")
    poses = pose_maps(2, 32, 64)
    pictures = torch.rand(2, 32, 32, 3, generator=torch.Generator().manual_seed(2))
    place = torch.rand(1, 32, 64, 3, generator=torch.Generator().manual_seed(3)).mul(255).round().div(255)
    mask = torch.zeros(1, 64, 128)
    mask[..., 64:] = 1
    given = (held, poses, 1, 2, 2.0, "default", "controlnet_important", "exact", 8, 4)
    plain, _ = sample.sample(*given, pictures[:1])
    (regions,) = node("AddRegion").add(pictures[1:], mask, torch.ones(1, 32, 32))
    two, _ = sample.sample(*given, pictures[:1], regions=regions)
    assert two.shape == plain.shape and (two - plain).abs().max() > 1e-4
    (chain,) = node("AddRegion").add(pictures[1:], mask, regions=regions)
    assert len(chain) == 2
    kept, _ = sample.sample(*given, pictures[:1], background=place, background_mask=mask)
    assert torch.equal(kept[:, :, :28], place.expand(2, -1, -1, -1)[:, :, :28])  # the resized mask is soft
    assert (kept[:, :, 32:] - place[:, :, 32:]).abs().max() > 0.1
    with pytest.raises(ValueError, match="`background_mask` is not connected"):
        sample.sample(*given, pictures[:1], background=place)
    with pytest.raises(ValueError, match="`mask` is not a MASK"):
        node("AddRegion").add(pictures[1:], torch.zeros(1, 1, 1, 1))
    (empty,) = node("AddRegion").add(pictures[1:], mask * 0)
    with pytest.raises(ValueError, match="covers nothing"):
        sample.sample(*given, pictures[:1], regions=empty)
