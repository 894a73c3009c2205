"""Nodes under ComfyUI's memory management give the core's pixels, also with little memory."""

import json
import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize("memory", ["normal", "novram"])
def test_pixels_equal_the_cores_in_every_memory_mode(pack_folder, python, memory):
    command = [python, Path(__file__).with_name("in_process.py"), pack_folder, memory]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["core_difference"] == report["partial_difference"] == report["reloaded_difference"] == 0
    assert report["taken_back_difference"] == 0 and report["adapter_difference"] < 1e-4 < 0.1 < report["adapter_moves"]
    assert report["known_to_comfyui"] == 3 and report["partly_loaded"] and report["unloaded"]
    assert report["kept_in_memory"] == 0
    assert report["loaded"] == 1 if memory == "normal" else report["loaded"] < 0.1
