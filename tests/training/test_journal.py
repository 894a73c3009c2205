import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.training.engine import train
from magicdance_core.training.report import _curves


def test_held_out_losses_pictures_and_report_are_written(smoke, finished):
    out, _ = finished
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    held = [record for record in records if "held_out" in record]
    assert [(r["stage"], r["step"]) for r in held] == [("vae", 0), ("vae", 4), ("pose", 0), ("pose", 3)]
    bands = [held[3][f"held_out_{k}"] for k in (1, 2, 3, 4)]
    assert held[3]["held_out"] == pytest.approx(sum(bands) / 4) and "held_out_1" not in held[0]
    names = {path.name for path in (out / "pictures").iterdir()}
    assert names == {f"{k:02d}-{s.name}-first-batch.png" for k, s in enumerate(smoke.stages)} | {
        "00-vae-00000004.png",
        "03-pose-00000003.png",
    }
    grid = np.asarray(Image.open(out / "pictures" / "03-pose-00000003.png"))
    assert grid.shape[1] > 4 * 160
    report = (out / "report.html").read_text()
    assert report.count("<img") == len(names) and "animate --model" in report and "learning_rate" in report
    assert f"{held[2]['held_out_1']:.4g} → {bands[0]:.4g}" in report


def test_curves_need_three_points():
    pytest.importorskip("matplotlib")
    few = [{"stage": "a", "step": step, "loss": 1 / step, "held_out": 2.0} for step in (1, 2)]
    assert not _curves(few)
    (curves,) = _curves([*few, {"stage": "a", "step": 3, "loss": 0.3}])
    assert curves.startswith("<svg") and "held out" in curves
    assert curves == _curves([*few, {"stage": "a", "step": 3, "loss": 0.3}])[0]


def test_validation_does_not_influence_training(smoke, finished, tmp_path):
    without = [dataclasses.replace(stage, validate_every=0, sample_every=0) for stage in smoke.stages[:1]]
    train(dataclasses.replace(smoke, stages=without), tmp_path, "cpu", finished[0] / "cache")
    name = "stages/00-vae.safetensors"
    from safetensors.torch import load_file

    one, two = load_file(tmp_path / name), load_file(finished[0] / name)
    assert all(np.array_equal(one[key], two[key]) for key in two)


def test_trackers_write_logs_and_unknown_ones_are_refused(one_stage, finished, tmp_path):
    pytest.importorskip("tensorboard")
    train(one_stage("unet", steps=2, run={"trackers": ["tensorboard"]}), tmp_path, "cpu", finished[0] / "cache")
    assert list(tmp_path.rglob("events.out.tfevents.*"))
    with pytest.raises(InputError, match="trackers"):
        train(one_stage("unet", steps=2, run={"trackers": ["nothing"]}), tmp_path / "other", "cpu")
