"""The two measures and the table of an ablation."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import ablation_report
from benchmarks.ablation_report import Recipe, displacement, head_psnr, write_tables
from magicdance_core.evaluation.puppet_scores import make_scene


def _scene():
    return make_scene(1, (0, 40), 64)


def test_pose_error_is_the_shift_of_the_picture():
    scene = _scene()
    assert displacement([scene], [scene.truth]) == 0
    for pixels in (1, 3):
        moved = [Image.fromarray(np.roll(np.asarray(picture), pixels, axis=1)) for picture in scene.truth]
        assert displacement([scene], [moved]) == pytest.approx(100 * pixels / 64, abs=0.2)


def test_head_psnr_sees_the_head_only():
    scene = _scene()
    spoiled = [np.array(picture) for picture in scene.truth]
    for picture in spoiled:
        picture[-8:] = 255 - picture[-8:]
    assert head_psnr([scene], [scene.truth]) == 100 == head_psnr([scene], [map(Image.fromarray, spoiled)])
    assert head_psnr([scene], [[scene.reference] * 2]) < 30


def test_table_has_means_and_deviations(tmp_path):
    variants = (Recipe("a", ""), Recipe("b", ""))
    scores = dict.fromkeys(ablation_report.METRICS, 1.0) | {"psnr_copy": 7.0}
    seeds = [{"a": scores, "b": scores | {"psnr": 3.0}}, {"a": scores, "b": scores | {"psnr": 5.0}}]
    table = write_tables(tmp_path, variants, seeds, {})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[3][:3] == ["b", "4.00 ± 1.41", "1.000 ± 0.000"] and rows[4][1] == "7.00 ± 0.00"
    assert json.loads((tmp_path / "results.json").read_text())["seeds"] == seeds
