"""The benchmark of several people and replaced ones, on a tiny model."""

import json

import numpy as np
import pytest

from benchmarks import scene
from benchmarks.scene import evaluate_scene, main
from magicdance_core.evaluation.arithmetic import count_people
from magicdance_core.pipeline import MagicDancePipeline


@pytest.fixture(scope="module")
def pipe(make_tiny):
    tiny = make_tiny()
    tiny.defaults = tiny.defaults | {"sample_size": 64, "num_inference_steps": 2}
    pipe = MagicDancePipeline(tiny)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_people_together_and_replaced_are_scored(pipe, monkeypatch):
    monkeypatch.setattr(scene, "count_people", lambda people, apart=True: float(people))
    report, shown = evaluate_scene(pipe, seed=1, pairs=1, frames=3)
    for name in ("identity", "identity_crossing", "mask_iou", "mask_recall", "mask_iou_crossing"):
        assert 0 <= report[name] <= 1
    assert report["mask_iou"] > 0.7 and report["mask_recall"] > 0.9
    assert report["plate_difference"] == 0 and report["arithmetic"] == 2
    assert all(np.isfinite(report[name]) for name in ("psnr_loss", "psnr_loss_crossing", "psnr_replaced", "border"))
    assert len(shown) == 2 and all(len(row) == 7 for row in shown)
    again, _ = evaluate_scene(pipe, seed=1, pairs=1, frames=3)
    assert again["psnr_loss"] == report["psnr_loss"]


def test_the_command_writes_figures_and_a_sheet(pipe, monkeypatch, tmp_path):
    monkeypatch.setattr(scene, "count_people", lambda people, apart=True: float(people))
    monkeypatch.setattr(scene, "load_model", lambda *given: pipe)
    files = ["--json", str(tmp_path / "a.json"), "--sheet", str(tmp_path / "a.png")]
    assert main(["--identities", "1", "--frames", "2", *files]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["pairs"] == 1 and (tmp_path / "a.png").stat().st_size > 0


def test_two_people_take_hardly_more_arithmetic_than_one():
    one = count_people(1)
    assert 1.05 < count_people(2, apart=False) / one < 1.15
    assert 1.25 < count_people(2) / one < 1.3
