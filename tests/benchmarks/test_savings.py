"""Rates and peaks of training options: each against an independent measurement."""

import json

import pytest
from ballast import PAUSE, measure_with_ballast
from processes import in_processes

from benchmarks import savings
from benchmarks.savings import CHANGES, changed
from magicdance_core.errors import InputError

BALLAST = 2**28  # bytes


def test_each_variant_changes_only_what_its_name_says(smoke):
    variants = {name: changed(smoke, "pose", 3, name) for name in CHANGES}
    plain = variants["as it is"]
    assert plain.stages[0].name == "pose" and plain.stages[0].steps == 3
    for name, variant in variants.items():
        of_stage, of_run = CHANGES[name]
        for made, without, changes in (
            (vars(variant.stages[0]), vars(plain.stages[0]), of_stage),
            (vars(variant), vars(plain), of_run),
        ):
            different = {key for key in made if made[key] != without[key]} - {"stages"}
            assert different <= changes.keys() and all(made[key] == value for key, value in changes.items()), name


def test_variants_that_a_stage_cannot_have_are_left_out(smoke):
    assert changed(smoke, "vae", 3, "rank 8") is None
    with pytest.raises(InputError, match="no stage x: the configuration has vae"):
        changed(smoke, "x", 3, "AdamW")


def test_rate_and_peak_are_those_of_the_steps(smoke, tmp_path):
    config = changed(smoke, "unet", 5, "AdamW")
    for ballast in (1, BALLAST):
        assert in_processes(measure_with_ballast, config, tmp_path, ballast) == [0]
    light, heavy = (json.loads((tmp_path / f"{ballast}.json").read_text()) for ballast in (1, BALLAST))
    assert heavy["peak_gib"] - light["peak_gib"] == pytest.approx(BALLAST / 2**30, abs=0.06)
    for found in (light, heavy):
        ends = found["ends"]
        passes = len(ends) // config.stages[0].steps  # of a step
        seconds = ends[-1] - ends[passes - 1]  # from the first step's last pass to the last step's
        assert found["steps_per_second"] == pytest.approx((config.stages[0].steps - 1) / seconds, rel=0.15)
        assert found["steps_per_second"] < 1 / (passes * PAUSE)


def test_the_command_measures_each_variant_in_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(savings, "CHANGES", {name: CHANGES[name] for name in ("rank 8", "AdamW")})
    report = tmp_path / "savings.json"
    assert savings.main(["smoke", "--stage", "vae", "--steps", "2", "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    assert list(found) == ["AdamW"] and found["AdamW"]["steps_per_second"] > 0 and found["AdamW"]["peak_gib"] > 0
    assert "steps/s" in capsys.readouterr().out
