"""Draw Puppets, called as ComfyUI calls it."""

import torch


def test_puppets_are_deterministic_and_match_their_pose_maps(node, comfy):
    reference, poses, keypoints, truth, reference_keypoints = node("Puppets").draw(1, 2, 3, 4, 64, 128)
    assert reference.shape == (1, 128, 64, 3) and poses.shape == truth.shape == (3, 128, 64, 3)
    assert len(keypoints) == 3 and keypoints[0]["canvas_width"] == 64
    assert len(reference_keypoints) == 1 and reference_keypoints[0]["canvas_height"] == 128
    assert not torch.equal(truth[0], truth[2]) and comfy.bars[0][-1][:2] == (3, 3)
    again = node("Puppets").draw(1, 2, 3, 4, 64, 128)
    assert torch.equal(again[3], truth)
    other = node("Puppets").draw(1, 2, 3, 5, 64, 128)
    assert not torch.equal(other[0], reference)
    (drawn,) = node("DrawPoses").draw(keypoints, 0, 0, True, True, True)
    assert torch.equal(drawn, poses)
