import numpy as np
import pytest
import torch

from benchmarks.steadiness import (
    _cells,
    borders_of,
    evaluate_steadiness,
    side_by_side,
    steadiness_scores,
)
from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.models import MotionModule
from magicdance_core.sampling import SamplingSettings, Windows


def truth_of(scene):
    return np.stack([np.asarray(picture) for picture in scene.truth]) / 255


def test_still_moving_and_seams_by_hand():
    scene = make_scene(0, range(0, 8, 2), 32)
    truth = truth_of(scene)
    exact = steadiness_scores(truth, scene)
    assert np.nanmax(exact["still"]) == np.nanmax(exact["moving"]) == 0 and np.isnan(exact["seams"]).all()
    frozen = steadiness_scores(np.repeat(truth[:1], 4, 0), scene)
    assert np.nanmax(frozen["still"]) < 2 and np.nanmin(frozen["moving"]) > 1
    flicker = truth + np.array([0, 1, 0, 1])[:, None, None, None] / 255
    jumping = truth + np.array([0, 1, -2, -1])[:, None, None, None] / 255
    scores = steadiness_scores(jumping, scene, flicker, np.array([False, True, False]))
    assert scores["still"][:3] == pytest.approx([1, 3, 1], abs=1e-6) and np.isnan(scores["still"][3])
    assert scores["seams"][1] == pytest.approx(3) and np.isfinite(scores["seams"]).sum() == 1


def test_borders_are_where_a_window_begins_or_ends():
    crossed = borders_of(Windows(6, 2), 14)  # of 0 to 5, 4 to 9, 8 to 13
    assert np.flatnonzero(crossed).tolist() == [3, 5, 7, 9] and len(crossed) == 13
    assert not borders_of(Windows(6, 2), 6).any()
    loop = borders_of(Windows(6, 2, closed=True), 8)  # of 0 to 5, 4 to 1: around the end, too
    assert np.flatnonzero(loop).tolist() == [1, 3, 5]


@pytest.mark.parametrize(("jump", "found"), [(0, False), (2, True)])
def test_only_a_planted_seam_is_found(jump, found):
    frames, random = 14, np.random.default_rng(3)
    borders = borders_of(Windows(6, 2), frames)
    light = np.concatenate([[0], np.cumsum(borders) % 2])[:, None, None, None]
    scored = []
    for seed in range(6):
        scene = make_scene(seed, range(frames), 16)
        hard = random.lognormal(0, 0.5, (frames, 1, 1, 1))  # some frames are harder than others, for both
        elsewhere, video = (truth_of(scene) + hard * random.normal(size=(frames, 16, 16, 3)) / 255 for _ in range(2))
        scored.append(steadiness_scores(video + jump * light / 255, scene, elsewhere, borders))
    seams = _cells(scored)["seams"]
    low, high = seams.interval
    assert (low > 1.1) == found == (seams.value > 1.1)
    assert found or low < 1 < high


def test_rows_of_a_model_with_and_without_motion(make_tiny):
    pipe = MagicDancePipeline(make_tiny())
    table, videos = evaluate_steadiness(pipe, people=1, frames=3, settings=SamplingSettings(1))
    (sheet, *more) = side_by_side(videos)
    assert len(more) == 2 and sheet.width == 3 * (192 + 8) + 8  # independent and shared noise, and the truth
    assert "shared noise" in table.rows and not any("motion" in row for row in table.rows)
    torch.manual_seed(0)
    pipe.motion = module = MotionModule.for_unet(pipe.unet).zero_init()
    silent, videos = evaluate_steadiness(pipe, people=1, frames=3, settings=SamplingSettings(1))
    assert pipe.motion is module and "mixed noise + motion" in silent.rows
    assert silent.rows["shared noise + motion"]["seams"].note == "-"
    before, after = (
        of.rows[row]["psnr"].value for of, row in ((table, "shared noise"), (silent, "shared noise + motion"))
    )
    assert after == pytest.approx(before, abs=0.01)
    assert next(side_by_side(videos)).width == 5 * (192 + 8) + 8
    windows, _ = evaluate_steadiness(
        pipe, people=1, frames=5, settings=SamplingSettings(1, windows=Windows(3, 1)), noises=["shared"]
    )
    assert not any("independent" in row or "mixed" in row for row in windows.rows)
    assert windows.rows["shared noise + motion, fixed windows"]["seams"].value == pytest.approx(1, rel=1e-3)
    assert windows.rows["shared noise"]["seams"].note == "-"
    with pytest.raises(InputError, match="two frames"):
        evaluate_steadiness(pipe, people=1, frames=1)
