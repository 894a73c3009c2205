"""Files and folders as other software writes them: variants, shards, counters, and networks of other kinds."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from magicdance_core.checkpoints import load_control, load_folder, save_folder
from magicdance_core.checkpoints.diffusers_folder import load_network, weight_files
from magicdance_core.errors import InputError


@pytest.fixture
def folder(tiny, tmp_path):
    save_folder(tmp_path / "model", tiny)
    return tmp_path / "model"


def same(network, other):
    return all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize(
    "name",
    [
        "{}.fp16.safetensors", "{}.bf16.safetensors", "{}.fp16.bin", "{}.bin", "{}.non_ema.safetensors",
        "{}.non_ema.bin", "{}-00001-of-00002.safetensors", "{}-00001-of-00002.bin",
        "{}.fp16-00001-of-00002.safetensors", "{}-00001-of-00002.fp16.safetensors",
    ],
)  # fmt: skip
def test_variants_and_shards_are_read(folder, tiny, name):
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    keys = sorted(weights)
    parts = (keys[::2], keys[1::2]) if "-of-" in name else (keys,)
    for number, part in enumerate(parts, 1):
        path = folder / "unet" / name.format("diffusion_pytorch_model").replace("00001", f"{number:05d}")
        part = {key: weights[key] for key in part}
        torch.save(part, path) if path.suffix == ".bin" else save_file(part, path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": {}}))
    assert same(load_folder(folder).unet, tiny.unet)
    if len(parts) > 1:
        path.unlink()
        with pytest.raises(InputError, match="unet has 1 of 2 files of weights"):
            load_folder(folder)


def test_the_best_variant_is_taken(tmp_path):
    stem = "diffusion_pytorch_model"
    order = ("", ".fp16", ".bf16")
    names = [f"{stem}{variant}.{suffix}" for suffix in ("safetensors", "bin") for variant in order]
    names.append(f"{stem}.non_ema.safetensors")
    for name in reversed(names):
        (tmp_path / name).touch()
        assert [file.name for file in weight_files(tmp_path)] == [name]


def test_unknown_numbers_in_a_complete_file_are_a_remark(folder, tiny, caplog):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    save_file(weights | {"global_step": torch.tensor(7), "denoiser.sigmas": torch.ones(1000)}, path)
    with caplog.at_level(logging.WARNING):
        assert same(load_network(folder / "unet", "unet"), tiny.unet)
    (line,) = caplog.messages
    assert "ignored: " in line and "global_step" in line and "denoiser.sigmas" in line
    save_file(weights | {"extra.weight": torch.ones(2, 2)}, path)
    with pytest.raises(InputError, match="1 extra .extra.weight"):
        load_network(folder / "unet", "unet")
    del weights["conv_in.bias"]
    save_file(weights | {"global_step": torch.tensor(7)}, path)
    with pytest.raises(InputError, match="1 missing .conv_in.bias. and 1 extra .global_step"):
        load_network(folder / "unet", "unet")


@pytest.mark.parametrize(
    "kind, names",
    [
        ("a control-LoRA", ("lora_controlnet", "input_blocks.1.1.proj_in.up")),
        ("a control-LoRA", ("input_blocks.1.1.proj_in.up", "input_blocks.1.1.proj_in.down")),
        ("a T2I-Adapter", ("body.0.block1.weight", "conv_in.weight")),
        ("a T2I-Adapter", ("adapter.body.0.resnets.0.block1.weight",)),
        ('a "difference" ControlNet', ("difference", "zero_convs.0.0.weight")),
        ("a ControlNet for Stable Diffusion XL", ("add_embedding.linear_1.weight", "controlnet_cond_embedding.a")),
        ("a ControlNet for Stable Diffusion XL", ("control_model.label_emb.0.0.weight",)),
        ("a LoRA", ("lora_unet_down_blocks_0.lora_up.weight",)),
        ("an IP-Adapter", ("image_proj.proj.weight",)),
    ],
)
def test_networks_of_other_kinds_are_refused_by_their_names(tmp_path, kind, names):
    save_file({name: torch.ones(2, 2) for name in names}, tmp_path / "pose.safetensors")
    with pytest.raises(InputError, match=f"pose.safetensors is {kind}.*: give a whole ControlNet"):
        load_control(tmp_path / "pose.safetensors", "pose")


def test_image_variations_is_named(folder, tiny, tmp_path):
    (folder / "image_encoder").mkdir()
    with pytest.raises(
        InputError, match="model is Stable Diffusion Image Variations, .* is not supported: give Stable"
    ):
        load_folder(folder)
    save_file({"cond_stage_model.model.visual.proj": torch.zeros(2, 2)}, tmp_path / "v.safetensors")
    with pytest.raises(InputError, match="v.safetensors is Stable Diffusion Image Variations"):
        load_control(tmp_path / "v.safetensors", "pose")
