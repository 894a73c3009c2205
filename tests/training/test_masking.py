"""Pose maps of training without face landmarks and hands (paper, Table 3)."""

import numpy as np
import pytest
import torch
from PIL import Image

from magicdance_core.data.puppet_frames import PuppetFrames, training_moment
from magicdance_core.data.video_frames import make_frame
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.parts import without_parts
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace


def objective(one_stage, cache, **stage):
    config = one_stage(data={"identities": 40, "crops": 0}, targets=3, **stage)
    frames = PuppetFrames(config.data, cache)
    space = LatentSpace(2, 4, 1.0)
    return DiffusionObjective(frames, None, config.data, config.stages[0], 3, torch.zeros(1, 1, 8), "epsilon", space)


def test_parts_are_hidden_as_often_as_asked_each_on_its_own(one_stage, tmp_path):
    made = objective(one_stage, tmp_path, mask_face=0.2, mask_hand=0.5)
    hidden = [parts for index in range(2000) for parts in made._hidden(index)]
    shares = {part: np.mean([part in parts for parts in hidden]) for part in ("face", "left_hand", "right_hand")}
    assert shares == pytest.approx({"face": 0.2, "left_hand": 0.5, "right_hand": 0.5}, abs=0.03)
    both = np.mean([{"left_hand", "right_hand"} <= set(parts) for parts in hidden])
    assert both == pytest.approx(0.25, abs=0.03)


def test_only_the_pose_maps_of_training_change(one_stage, tmp_path):
    plain, masked = (objective(one_stage, tmp_path, mask_face=p, mask_hand=p) for p in (0, 1))
    for index in range(3):
        with_parts, without = plain.sample(index), masked.sample(index)
        for key in with_parts.keys() - {"poses"}:
            assert torch.equal(with_parts[key], without[key]), key
        video, (_, *targets) = int(without["video"]), without["frames"].tolist()
        for made, frame in zip(without["poses"].numpy(), targets):
            keypoints = training_moment(masked.data, video, frame).keypoints
            assert np.array_equal(made, draw_pose(without_parts(keypoints, ("face", "left_hand", "right_hand"))))
    held_out = plain.held_out(1), masked.held_out(1)
    assert all(torch.equal(held_out[0][key], held_out[1][key]) for key in held_out[0])


def test_drawn_maps_and_stages_without_pose_are_refused(one_stage, tmp_path):
    picture = Image.new("RGB", (16, 16))
    video = PuppetFrames(one_stage(data={"size": 16}).data, tmp_path).videos[0]
    with pytest.raises(InputError, match="a drawn pose map, whose parts cannot be told apart: set mask_face"):
        make_frame(picture, picture, None, video, "a.png", ("face",))
    with pytest.raises(InputError, match="mask_hand is set, and the pose control is not attached"):
        one_stage("appearance", mask_hand=0.5)
