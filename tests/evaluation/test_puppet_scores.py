"""The measure of transfer: exact where the answer is known, and reproducible."""

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.evaluation.puppet_scores import REFERENCE_DIFFERENCE, evaluate_puppets, make_scene, score, shrunk
from magicdance_core.models import MotionModule
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.sampling import SamplingSettings


@pytest.fixture
def pipe(tiny):
    return MagicDancePipeline(tiny)


def test_a_scene_is_one_person_in_other_poses():
    scene = make_scene(5, [0, 40], 32)
    assert len(scene.poses) == len(scene.truth) == len(scene.keypoints) == 2
    assert {p.size for p in (scene.reference, *scene.poses, *scene.truth)} == {(32, 32)}
    assert len({p.tobytes() for p in (scene.reference, *scene.truth)}) == 3
    assert make_scene(5, [0, 40], 32).truth[1].tobytes() == scene.truth[1].tobytes()


def test_scores_of_the_truth_and_of_the_copied_reference(pipe):
    scenes = [make_scene(i, [0, 25], 32) for i in range(2)]
    best = score(pipe, scenes, [scene.truth for scene in scenes])
    assert best["psnr"] == best["psnr_moving"] == best["psnr_hands"] == pytest.approx(100)
    assert best["ssim"] == pytest.approx(1) and best["expression"] == best["identity"] == 1
    copied = score(pipe, scenes, [[scene.reference] * 2 for scene in scenes])
    for name in ("psnr", "ssim", "psnr_moving", "psnr_hands"):
        assert copied[name] == best[name + "_copy"] and best[name + "_vae"] < best[name]
        assert best[name + "_warp"] < best[name]
    assert copied["expression"] == best["expression_copy"] and copied["identity"] == best["identity_copy"] == 1
    assert copied["psnr_moving"] < copied["psnr"] and copied["psnr_moving"] < -20 * np.log10(REFERENCE_DIFFERENCE) + 5


def test_the_evaluation_is_reproducible_and_reports_its_settings(pipe):
    reports = [evaluate_puppets(pipe, 3, identities=2, frames_per_identity=3) for _ in range(2)]
    one, two = ({k: v for k, v in r.scores.items() if k != "seconds"} for r in reports)
    assert one == two
    assert (one["identities"], one["frames"], one["steps"], one["guidance"], one["size"]) == (2, 6, 4, 2.0, 32)
    assert [len(row) for row in reports[0].rows()] == [4, 4]
    low, high = one["intervals"]["psnr"]
    assert low <= one["psnr"] <= high
    table = reports[0].table()
    assert list(table.rows) == ["reference copied", "reference warped", "generated", "VAE of the truth"]
    assert table.rows["generated"]["psnr"].value == one["psnr"]
    assert [len(made) for made in reports[0].generated] == [3, 3]
    other = evaluate_puppets(pipe, 4, identities=2, frames_per_identity=3, settings=SamplingSettings(1, 1.0))
    assert other.scores["psnr_copy"] != one["psnr_copy"] and other.scores["steps"] == 1


def test_scores_of_smaller_pictures(pipe):
    picture = np.arange(4.0 * 6 * 3).reshape(4, 6, 3)
    assert shrunk(picture, 2).shape == (2, 3, 3) and shrunk(picture, 1) is not picture
    assert np.array_equal(shrunk(picture, 1), picture)
    assert shrunk(picture, 2)[1, 2].tolist() == picture[2:, 4:].mean((0, 1)).tolist()
    small = evaluate_puppets(
        pipe, 3, identities=1, frames_per_identity=1, settings=SamplingSettings(1), shrink=2
    ).scores
    whole = evaluate_puppets(pipe, 3, identities=1, frames_per_identity=1, settings=SamplingSettings(1)).scores
    assert (small["size"], whole["size"]) == (16, 32)
    assert small["psnr"] > whole["psnr"]  # noise is lost in the mean
    with pytest.raises(InputError, match="--shrink is 5: give a divisor"):
        evaluate_puppets(pipe, shrink=5)


def test_a_motion_module_is_not_used(pipe):
    """A motion module has no say, and stays where it is."""
    alone = evaluate_puppets(pipe, 3, identities=1, frames_per_identity=2, settings=SamplingSettings(1))
    pipe.motion = module = MotionModule.for_unet(pipe.unet).requires_grad_(False)
    for weight in module.parameters():
        weight.fill_(0.5)
    beside = evaluate_puppets(pipe, 3, identities=1, frames_per_identity=2, settings=SamplingSettings(1))
    assert pipe.motion is module and beside.scores["psnr"] == alone.scores["psnr"]
