"""ComfyUI's own MODEL with the patch gives the core's numbers, alone and together with other patches."""

import json
import os
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent / "native"


@pytest.fixture(scope="module")
def run(pack_folder, python):
    """Return a function that runs checks of native/: `run("prediction")`."""

    def call(*checks: str) -> dict:
        environment = os.environ | {"PYTHONPATH": "", "PACK_FOLDER": str(pack_folder)}
        done = subprocess.run([python, NATIVE / "run.py", *checks], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        report = json.loads(done.stdout.splitlines()[-1])
        print(json.dumps(report, indent=1))
        return report

    return call


@pytest.fixture(scope="module")
def core(run):
    return run("prediction", "ksampler", "pose")


def test_predictions_equal_the_cores(core):
    """In single precision, the difference is smaller than the core's own rounding error (`rounding`)."""
    single, double = core["prediction"]["float32"], core["prediction"]["float64"]
    assert max(single[name] for name in ("relative", "plain", "negative_untouched")) <= 1e-6
    assert single["relative"] <= single["rounding"]
    assert max(double[name] for name in ("relative", "plain", "negative_untouched")) <= 1e-12
    assert double["the_reference_changes"] > 0.01


def test_ksampler_results_equal_the_cores(core):
    for found in core["ksampler"].values():
        assert found["relative"] <= 1e-4
    for sampler in ("ddim", "euler"):
        assert core["ksampler"][f"{sampler} controlnet_important"]["calls_a_step"] == 1
        assert core["ksampler"][f"{sampler} balance"]["calls_a_step"] == 2  # two different prompts
    assert max(core["pose"].values()) <= 1e-4


@pytest.fixture(scope="module")
def beside(run):
    return run("order", "others", "regions", "samplers", "guiders")


def test_conditionings_in_any_order(beside):
    assert beside["order"] == {"first": 0, "alone": 0}
    assert beside["guiders"] == {"positive": True, "middle": True, "negative": False}


def test_other_patches_before_and_after(beside):
    assert beside["others"].pop("token merging")
    for found in beside["others"].values():
        assert found["order"] <= 1e-5 < 1e-3 < min(found["beside_ours"], found["beside_theirs"])


def test_masks_and_areas(beside):
    found = beside["regions"]
    same = ("mask_everywhere", "mask_nowhere", "one_person_masked_out", "mask_a_frame", "area_outside_the_mask")
    assert max(found[name] for name in (*same, "inpainting")) <= 1e-5
    assert min(found[name] for name in ("two_people_differ", "areas", "masked prompts")) > 1e-2
    assert found["calls"] == {"areas": 4, "masked prompts": 4}  # two prompts, two steps


def test_the_network_runs_once_per_noise_level(beside):
    for name, found in beside["samplers"].items():
        assert found is True or (found[0] == found[1] and found[2]), name


def test_torch_compile(run):
    for found in run("compiled")["compiled"].values():
        assert found["relative"] <= 1e-5 and found["graphs"][0] == found["graphs"][1] > 0


def test_memory_modes_precision_and_cleanup(run):
    found = run("nothing", "precision", "memory_modes", "cleaning", "mistakes")
    assert all(found["nothing"].values())
    assert found["precision"]["float16"] < 2e-3 and found["precision"]["bfloat16"] < 0.05
    assert found["precision"]["float8_e4m3fn"] < 0.2
    memory = found["memory_modes"]
    assert memory["known_to_comfyui"] and memory["partly_loaded"] and memory["unloaded"]
    assert memory["partial_difference"] == memory["LOW_VRAM"][0] == memory["NO_VRAM"][0] == 0
    assert memory["NO_VRAM"][1] < 0.1
    cleaning = found["cleaning"]
    assert cleaning["run"] == cleaning["error"] == cleaning["interrupt"] == [True, 0]
    assert cleaning["works_again"] == 0 and not cleaning["options"]
    for name, sentence in found["mistakes"].items():
        assert sentence and sentence.endswith(".") and ": " in sentence, name


@pytest.mark.skipif(not os.environ.get("COMFYUI_PACKS"), reason="COMFYUI_PACKS is not set")
def test_other_packs(run):
    """COMFYUI_PACKS: a folder with ComfyUI-AnimateDiff-Evolved, ComfyUI-Advanced-ControlNet, ComfyUI_IPAdapter_plus."""
    found = run("animatediff", "advanced_controlnet", "ip_adapter")
    for name, windows in found["animatediff"].items():
        if "windows" in name:
            assert windows == {"relative": pytest.approx(0, abs=1e-5), "calls": 3}, name
    motion = found["animatediff"]["motion"]
    assert motion["finite"] and motion["calls"] == motion["steps"] == 3 and motion["frames"] == [16]
    assert motion["windows"] > 2 * 3 and motion["it acts"] > 1e-2 and motion["the reference acts"] > 1e-2
    control = found["advanced_controlnet"]
    assert control["as ComfyUI's own"] <= 1e-5 and control["keyframe"] > 1e-4 and control["finite"]
    adapter = found["ip_adapter"]
    assert adapter["order"] == 0 and min(adapter["beside_ours"], adapter["beside_theirs"]) > 1e-3


def test_lora_files_of_the_trainer(run):
    found = run("lora")["lora"]
    assert found["patched"] == found["pairs"] > 100 and found["relative"] < 1e-5 < 0.1 < found["moves"]
