"""Measuring the speed of a machine: the report is complete, whatever the speed."""

import json

import pytest
import torch

from magicdance_core.__main__ import main
from magicdance_core.evaluation.machine_speed import measure_speed


def test_small_shapes_are_measured_on_the_cpu(tmp_path, capsys):
    path = tmp_path / "machine.json"
    assert (
        main(["benchmark", "--device", "cpu", "--small", "--frames", "2", "3", "--steps", "2", "--json", str(path)])
        == 0
    )
    report = json.loads(path.read_text())
    assert report["device"] == "cpu" and report["dtype"] == "float32" and report["ceiling"] > 0
    assert [row["frames"] for row in report["runs"]] == [2, 3]
    for row in report["runs"]:
        assert 0 < row["seconds"] < row["first_frame"] and 0 < row["of_ceiling"] and row["megabytes"] > 1
        assert row["frames_a_second"] == pytest.approx(row["frames"] / row["seconds"])
    assert "of_ceiling" in capsys.readouterr().out


def test_compilation_is_timed(monkeypatch):
    compiled = []
    monkeypatch.setattr("magicdance_core.evaluation.machine_speed.compile_blocks", compiled.append)
    report = measure_speed(torch.device("cpu"), torch.float32, (2,), steps=1, size="small", compiled=True)
    assert len(compiled) == 2 and report["compiled"] and "compile_seconds" in report
