"""The two measures and the table of an ablation."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import ablation_report
from benchmarks.ablation_report import FULL, Recipe, _cell, _draws, displacement, head_psnr, write_tables
from magicdance_core.evaluation.puppet_scores import make_scene


def _scene():
    return make_scene(1, (0, 40), 64)


def test_pose_error_is_the_shift_of_the_picture():
    scene = _scene()
    assert displacement([scene], [scene.truth]) == [0]
    for pixels in (1, 3):
        moved = [Image.fromarray(np.roll(np.asarray(picture), pixels, axis=1)) for picture in scene.truth]
        assert displacement([scene], [moved]) == [pytest.approx(100 * pixels / 64, abs=0.2)]


def test_head_psnr_sees_the_head_only():
    scene = _scene()
    spoiled = [np.array(picture) for picture in scene.truth]
    for picture in spoiled:
        picture[-8:] = 255 - picture[-8:]
    assert head_psnr([scene], [scene.truth]) == [100] == head_psnr([scene], [map(Image.fromarray, spoiled)])
    assert head_psnr([scene], [[scene.reference] * 2])[0] < 30


def test_table_has_means_intervals_and_differences(tmp_path):
    recipes = (Recipe("a", "", "1 / .2"), Recipe(FULL, ""))
    scores = dict.fromkeys(ablation_report.METRICS, [1.0, 1.0]) | {"psnr_copy": [7.0, 7.0]}
    seeds = [{"a": scores | {"psnr": [2.0, 4.0]}, FULL: scores}, {"a": scores | {"psnr": [4.0, 6.0]}, FULL: scores}]
    table = write_tables(tmp_path, recipes, seeds, {})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[2][:4] == ["a", "1 / .2", "4.00 (2.00 to 6.00)", "1.000"] and rows[4][2] == "7.00"
    assert rows[-1][:4] == ["a", "1 / .2", "+3.00 (+1.00 to +5.00)", "+0.000"]
    assert json.loads((tmp_path / "results.json").read_text())["seeds"] == seeds


def test_intervals_resample_seeds_and_people():
    drawn = _draws(4, 5)
    effects = np.random.default_rng(0).normal(size=(4, 1)) + np.zeros((4, 5))
    means = np.random.default_rng(1).integers(0, 4, (20000, 4))
    low, high = np.quantile(effects[means, 0].mean(1), [0.025, 0.975])
    _, low_made, _, high_made = _cell(effects, drawn, 6).replace("(", "").replace(")", "").split()
    assert [float(low_made), float(high_made)] == pytest.approx([low, high], abs=0.15)
