import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.training import study_report
from magicdance_core.training.engine import train
from magicdance_core.training.report import _curves
from magicdance_core.training.study_report import Variant, displacement, head_psnr, write_report


def test_held_out_losses_pictures_and_a_report(smoke, finished):
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


def test_curves_of_losses():
    pytest.importorskip("matplotlib")
    few = [{"stage": "a", "step": step, "loss": 1 / step, "held_out": 2.0} for step in (1, 2)]
    assert not _curves(few)
    (curves,) = _curves([*few, {"stage": "a", "step": 3, "loss": 0.3}])
    assert curves.startswith("<svg") and "held out" in curves
    assert curves == _curves([*few, {"stage": "a", "step": 3, "loss": 0.3}])[0]


def test_looking_changes_nothing_that_is_trained(smoke, finished, tmp_path):
    blind = [dataclasses.replace(stage, validate_every=0, sample_every=0) for stage in smoke.stages[:1]]
    train(dataclasses.replace(smoke, stages=blind), tmp_path, "cpu", finished[0] / "cache")
    name = "stages/00-vae.safetensors"
    from safetensors.torch import load_file

    one, two = load_file(tmp_path / name), load_file(finished[0] / name)
    assert all(np.array_equal(one[key], two[key]) for key in two)


def test_trackers(one_stage, finished, tmp_path):
    pytest.importorskip("tensorboard")
    train(one_stage("unet", steps=2, run={"trackers": ["tensorboard"]}), tmp_path, "cpu", finished[0] / "cache")
    assert list(tmp_path.rglob("events.out.tfevents.*"))
    with pytest.raises(InputError, match="trackers"):
        train(one_stage("unet", steps=2, run={"trackers": ["nothing"]}), tmp_path / "other", "cpu")


def _scene():
    from magicdance_core.evaluation.puppets import make_scene

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


def test_the_table_has_means_and_deviations(tmp_path):
    variants = (Variant("a", ""), Variant("b", ""))
    scores = dict.fromkeys(study_report.MEASURES, 1.0) | {"psnr_copy": 7.0}
    seeds = [{"a": scores, "b": scores | {"psnr": 3.0}}, {"a": scores, "b": scores | {"psnr": 5.0}}]
    table = write_report(tmp_path, variants, seeds, {})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[3][:3] == ["b", "4.00 ± 1.41", "1.000 ± 0.000"] and rows[4][1] == "7.00 ± 0.00"
    assert json.loads((tmp_path / "results.json").read_text())["seeds"] == seeds
