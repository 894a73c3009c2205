import pytest
import torch

import magicdance_core.training.plan as planning
from magicdance_core import train
from magicdance_core.training.config import load_config
from magicdance_core.training.plan import GIB, _empty_model, plan


def test_plan_of_the_published_recipe_on_24_gb():
    """Counted by hand with measured activations: 857.07 M and 1218.35 M weights learn, 18.3 and 20.7 GiB."""
    first, second = plan(load_config("gpu24"))
    assert (round(first.learning / 1e6, 2), round(second.learning / 1e6, 2)) == (857.07, 1218.35)
    assert sum(first.memory.values()) / GIB == pytest.approx(18.3, abs=2)
    assert sum(second.memory.values()) / GIB == pytest.approx(20.7, abs=2)
    assert first.state == pytest.approx(first.learning * (4 + 2))


def test_the_embedded_model_is_counted_in_float32():
    """Its file may hold half precision."""
    for network in _empty_model(load_config("embedded_motion")).networks().values():
        assert {(weight.dtype, weight.device.type) for weight in network.parameters()} == {(torch.float32, "meta")}


def test_rollouts_are_counted(one_stage):
    plain, rollouts = (plan(one_stage("motion", rollout_steps=steps))[0] for steps in (0, 4))
    assert plain.operations < rollouts.operations < 3 * plain.operations and rollouts.memory == plain.memory


def test_checkpointed_blocks_of_motion_stages_are_counted(one_stage, monkeypatch):
    """The motion module's hooks recompute blocks with their clip, which an estimate does not."""
    config, counted = one_stage("motion", checkpointing=True), set()
    model, count = _empty_model(config), planning._SavedTensors.checkpoint
    monkeypatch.setattr(planning, "_empty_model", lambda _: model)
    monkeypatch.setattr(
        planning._SavedTensors, "checkpoint", lambda self, module, *of: counted.add(module) or count(self, module, *of)
    )
    plan(config)
    assert set(model.unet.down_blocks[0].resnets) <= counted
    assert model.unet.temporal_hooks.checkpointing is None


def test_plan_starts_nothing(tmp_path, capsys):
    stage = "stages=[{name: pose, train: [pose], controls: [pose], steps: 3}]"
    command = ["smoke", "--set", stage, "--plan", "--out", str(tmp_path / "run"), "--tflops", "0.01"]
    assert train.main(command) == 0
    text = capsys.readouterr().out
    assert "hours at 0.01 TFLOP/s" in text and "disk" in text and "pose: 3 steps" in text
    assert not (tmp_path / "run").exists()
    assert train.main(["smoke", "--plan", "--tflops", "0"]) == 2
