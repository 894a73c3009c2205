import json

import numpy as np
import pytest

from benchmarks import price
from benchmarks.price import SpeedSweep, Variant, measure_price, variants
from magicdance_core import MagicDancePipeline, pipeline
from magicdance_core.evaluation.arithmetic import Costs
from magicdance_core.sampling import PRESETS, Control, Preset, Shortcuts

FEW = {
    "ddim, 1 steps": Variant(Preset(0.25)),
    "ddim, 2 steps": Variant(Preset(0.5)),
    "2 steps: guided 0 to 0.5": Variant(Preset(0.5, shortcuts=Shortcuts((0.0, 0.5)))),
    "2 steps: pose up to 0.5": Variant(Preset(0.5), Control(1.0, 0.0, 0.5)),
    "preset exact": Variant(PRESETS["exact"]),
}


@pytest.fixture(autouse=True)
def costs(monkeypatch):
    """Of the published networks, rounded: counting them takes seconds and is tested elsewhere."""
    monkeypatch.setattr(price, "full_size_costs", lambda: Costs(803e9, 926e9, 791e9, 268e9, 15e9))


@pytest.fixture
def pipe(tiny):
    return MagicDancePipeline(tiny)


def test_the_grid_has_curves_shortcuts_and_presets():
    grid = variants(20, "ddim")
    assert {f"preset {name}" for name in PRESETS} <= grid.keys()
    measured = SpeedSweep(grid, 20, dict.fromkeys(grid))
    curves = measured.curves()
    assert set(curves) == {"ddim", "dpmpp_2m", "unipc"} and curves["ddim"][-1] == "ddim, 20 steps"
    assert grid["10 steps: pose every 2"].preset.shortcuts == Shortcuts(pose_every=2)
    assert measured.arithmetic("ddim, 10 steps") == pytest.approx(measured.arithmetic("preset exact") / 2, rel=0.03)


def test_measurements_are_cached_and_paired(pipe, tmp_path, monkeypatch):
    own = pipe.scheduler
    measured = measure_price(pipe, people=2, frames=2, folder=tmp_path, chosen=FEW)
    assert pipe.scheduler is own and list(measured.scores) == list(FEW)
    rows = measured.table().rows
    assert rows["preset exact"]["against_exact"].value == 0 and rows["ddim, 1 steps"]["against_exact"].value != 0
    exact, one = (measured.scores[name] for name in ("preset exact", "ddim, 1 steps"))
    expected = np.mean([a["psnr"] - b["psnr"] for a, b in zip(one, exact)])
    assert rows["ddim, 1 steps"]["against_exact"].value == pytest.approx(expected)
    shares = [rows[name]["arithmetic"].value for name in FEW]
    assert shares[0] < shares[2] < shares[1] < shares[4] and shares[3] < shares[1]
    monkeypatch.setattr(MagicDancePipeline, "__call__", lambda *a, **k: pytest.fail("measured again"))
    again = measure_price(pipe, people=2, frames=2, folder=tmp_path, chosen=FEW)
    assert again.table().rows["ddim, 2 steps"] == rows["ddim, 2 steps"]


def test_the_command_writes_table_and_plots(pipe, tmp_path, monkeypatch, capsys):
    pipe.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(pipeline, "EMBEDDED", tmp_path / "model")
    exact_steps = []
    monkeypatch.setattr(price, "variants", lambda steps, scheduler: exact_steps.append(steps) or FEW)
    monkeypatch.chdir(tmp_path)
    options = ["--identities", "1", "--frames", "2", "--steps", "4", "--device", "cpu"]
    assert price.main(["--out", "out", "--json", "price.json", *options]) == 0
    assert "against exact" in capsys.readouterr().out and exact_steps == [4]
    assert {"table.csv", "price.svg", "steps.svg"} <= {path.name for path in (tmp_path / "out").iterdir()}
    report = json.loads((tmp_path / "price.json").read_text())
    assert report["preset exact"]["against_exact"] == 0 and report["preset exact"]["expression"] is not None
    assert "<svg" in (tmp_path / "out" / "price.svg").read_text()[:200]
