"""The benchmarks of faces, expressions and beats, on a tiny model."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.beat import evaluate_beat
from benchmarks.expression import SETTINGS, evaluate_expressions
from benchmarks.faces import _depth, _weight, evaluate_faces, main
from magicdance_core.evaluation.metrics import border, to_float
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.pose.face_crops import Crop

MEASURED = ("psnr_face", "expression", "identity", "flicker_face")


@pytest.fixture(scope="module")
def pipe(make_tiny):
    tiny = make_tiny()
    tiny.defaults = tiny.defaults | {"sample_size": 64, "num_inference_steps": 2}
    pipe = MagicDancePipeline(tiny)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_faces_are_scored_with_the_pass_and_without(pipe):
    report, shown = evaluate_faces(pipe, seed=1, people=2, frames=3)
    for name in MEASURED:
        low, high = report["intervals"][name] or (report[name], report[name])
        assert low <= report[name] <= high and np.isfinite(report[name + "_without"])
    assert report["psnr_face"] != report["psnr_face_without"]
    assert 0.3 < report["border"] < 3 and 0.3 < report["border_without"] < 3
    assert 1.1 < report["arithmetic"] < 3 and (report["identities"], report["frames"]) == (2, 6)
    assert len(shown) == 4 and all(len(row) == 5 for row in shown)
    again, _ = evaluate_faces(pipe, seed=1, people=2, frames=3)
    assert again["psnr_face"] == report["psnr_face"]


def test_a_seam_raises_the_border_and_even_errors_do_not():
    crop, rng = Crop(20.0, 20.0, 60.0), np.random.default_rng(0)

    def picture(values):
        return Image.fromarray(np.clip(128 + values, 0, 255).astype(np.uint8))

    truth, even = picture(np.zeros((100, 100, 3))), rng.normal(0, 20, (100, 100, 3))
    weight = _weight(crop, 100)
    assert border(to_float(picture(even)), to_float(truth), weight) == pytest.approx(1, abs=0.05)
    seam = even + 60 * (_depth(crop, 100) > 0.09)[..., None]
    assert border(to_float(picture(seam)), to_float(truth), weight) > 1.1


def test_expressions_have_a_row_for_each_setting(pipe):
    table = evaluate_expressions(pipe, people=1, frames=1)
    assert len(table.rows) == len(SETTINGS)
    assert all(0 <= cell.number <= 1 for row in table.rows.values() for cell in row.values())


def test_beat_is_at_least_twice_as_near():
    rows = evaluate_beat(seed=3, people=3, frames=300).rows
    before, after = (rows[name]["distance"].number for name in ("as danced", "matched"))
    assert after < before / 2 and rows["matched"]["fastest"].number <= 1.5 + 1e-9


def test_command_writes_the_keys(pipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.faces.load_model", lambda *args: pipe)
    arguments = ["--identities", "1", "--frames", "2", "--steps", "1", "--device", "cpu", "--json"]
    assert main([*arguments, str(tmp_path / "faces.json"), "--sheet", str(tmp_path / "faces.png")]) == 0
    written = json.loads((tmp_path / "faces.json").read_text())
    assert {name + end for name in MEASURED for end in ("", "_without")} | {"arithmetic", "border"} <= set(written)
    assert (tmp_path / "faces.png").is_file() and "psnr_face" in capsys.readouterr().out
    assert main([*arguments, str(tmp_path / "other.json"), "--strength", "2"]) == 2
    assert "strength" in capsys.readouterr().err and not (tmp_path / "other.json").exists()
