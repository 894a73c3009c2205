import numpy as np
import pytest
import torch

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.evaluation.puppets import make_scene
from magicdance_core.evaluation.steadiness import _scores, evaluate_steadiness
from magicdance_core.models import MotionModule


def test_errors_of_change_by_hand():
    scene = make_scene(0, range(0, 8, 2), 32)
    truth = np.stack([np.asarray(picture) for picture in scene.truth]) / 255
    exact = _scores(truth, scene, set())
    assert np.nanmax(exact["still"]) == np.nanmax(exact["moving"]) == 0 and np.isnan(exact["seams"]).all()
    frozen = _scores(np.repeat(truth[:1], 4, 0), scene, set())
    assert np.nanmax(frozen["still"]) < 2 and np.nanmin(frozen["moving"]) > 1
    flicker = truth + np.array([0, 1, 0, 1])[:, None, None, None] / 255
    scores = _scores(flicker, scene, {2})
    assert scores["still"][:3] == pytest.approx(1, abs=1e-6) and np.isnan(scores["still"][3])
    assert scores["seams"][1] == pytest.approx(1) and np.isfinite(scores["seams"]).sum() == 1


def test_rows_of_a_model_with_and_without_motion(make_tiny):
    pipe = MagicDancePipeline(make_tiny())
    table, numbers = evaluate_steadiness(pipe, people=1, frames=3, num_inference_steps=1)
    assert "shared noise" in table.rows and not any("motion" in row for row in table.rows)
    torch.manual_seed(0)
    pipe.motion = module = MotionModule.for_unet(pipe.unet).silence()
    with_silent, same = evaluate_steadiness(pipe, people=1, frames=3, num_inference_steps=1)
    assert pipe.motion is module and "mixed noise + motion" in with_silent.rows
    assert same["shared noise + motion"]["psnr"] == pytest.approx(numbers["shared noise"]["psnr"], abs=0.01)
    with pytest.raises(InputError, match="two frames"):
        evaluate_steadiness(pipe, people=1, frames=1)
