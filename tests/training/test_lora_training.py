"""Training low-rank matrices: saved as files of LoRAs beside the merged weights."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from magicdance_core.checkpoints import load, merge_weight_lora, save_folder
from magicdance_core.errors import InputError
from magicdance_core.training.config import StartConfig
from magicdance_core.training.engine import train


def test_the_lora_files_and_the_starting_model_give_the_merged_weights(make_tiny, one_stage, tmp_path):
    save_folder(tmp_path / "tiny", make_tiny("v_prediction"))
    config = one_stage(
        train=["unet", "appearance"], rank=2, steps=2, mask_face=0, mask_hand=0, validate_every=0, sample_every=0,
        run={"networks": None, "start": StartConfig(str(tmp_path / "tiny")), "prediction_type": None},
    )  # fmt: skip
    train(config, tmp_path / "run", "cpu")
    final = tmp_path / "run" / "final"
    assert sorted(path.name for path in final.iterdir()) == [
        "lora-pose-appearance.safetensors", "lora-pose-unet.safetensors", "model.safetensors",
    ]  # fmt: skip
    trained, model = load(final / "model.safetensors"), load(tmp_path / "tiny")
    for role in ("unet", "appearance"):
        started = {name: weight.clone() for name, weight in getattr(model, role).state_dict().items()}
        merge_weight_lora(final / f"lora-pose-{role}.safetensors", 1.0, model)
        merged, wanted = getattr(model, role).state_dict(), getattr(trained, role).state_dict()
        assert all(torch.allclose(merged[name], wanted[name], atol=1e-6) for name in wanted)
        moved = {name for name in wanted if not torch.equal(wanted[name], started[name])}
        assert len(moved) > 10 and all(".to_" in name for name in moved)


def test_all_layers_of_all_networks_can_learn_so(make_tiny, one_stage, tmp_path):
    """Convolutions too, as LoCon has them; the files hold the export's dtype."""
    save_folder(tmp_path / "tiny", make_tiny("v_prediction"))
    config = one_stage(
        train=["unet", "appearance", "pose"], rank=2, lora_layers="all", steps=2, mask_face=0, mask_hand=0,
        validate_every=0, sample_every=0, optimizer="adamw",
        run={
            "networks": None, "start": StartConfig(str(tmp_path / "tiny")), "prediction_type": None,
            "export": "float16",
        },
    )  # fmt: skip
    train(config, tmp_path / "run", "cpu")
    final = tmp_path / "run" / "final"
    trained, model = load(final / "model.safetensors"), load(tmp_path / "tiny")
    for role in ("unet", "appearance", "pose"):
        file = final / f"lora-pose-{role}.safetensors"
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.float16}
        started = {name: weight.clone() for name, weight in getattr(model, role).state_dict().items()}
        merge_weight_lora(file, 1.0, model)
        merged, wanted = getattr(model, role).state_dict(), getattr(trained, role).state_dict()
        assert all(torch.allclose(merged[name], wanted[name].float(), atol=2e-3) for name in wanted)
        moved = {name for name in wanted if not torch.equal(merged[name], started[name])}
        assert any(started[name].dim() == 4 for name in moved) and all(name.endswith(".weight") for name in moved)


def test_rank_without_a_network_for_it_is_refused(one_stage):
    with pytest.raises(InputError, match="rank is set, and train names neither appearance nor unet"):
        one_stage("pose", train=["pose"], rank=2)
    assert one_stage("pose", train=["pose"], rank=2, lora_layers="all").stages[0].rank == 2
    stage = one_stage("pose", train=["unet"], rank=2).stages[0]
    assert dataclasses.replace(stage, train=["appearance", "pose"]).rank == 2
