"""LoRAs of other trainers, by the names that each gives to the layers; and ours, as diffusers reads it."""

import copy

import pytest
import torch
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from magicdance_core.checkpoints import merge_weight_lora, save_lora
from magicdance_core.checkpoints.names import unet_names
from magicdance_core.errors import InputError

QUERY = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight"
OUT = "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0.weight"
CONV = "down_blocks.0.resnets.0.conv1.weight"


def draw(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def pair(weight, rank=2):
    """up and down of a weight; of a convolution as LoCon has them."""
    out, wide = weight.shape[:2]
    kernel = weight.shape[2:]
    return draw(out, rank, *(1 for _ in kernel)), draw(rank, wide, *kernel)


def change(up, down):
    return torch.einsum("or,r...->o...", up.flatten(1), down)


def merged(model, path, strength=1.0):
    changed = copy.deepcopy(model)
    merge_weight_lora(path, strength, changed)
    return changed


def differences(before, after):
    state = after.state_dict()
    return {k: state[k] - w for k, w in before.state_dict().items() if not torch.equal(state[k], w)}


NAMINGS = {
    "kohya": ("lora_unet_{flat}", ".lora_up.weight", ".lora_down.weight"),
    "kohya, published names": ("lora_unet_{published}", ".lora_up.weight", ".lora_down.weight"),
    "diffusers": ("unet.{dotted}", ".lora.up.weight", ".lora.down.weight"),
    "PEFT": ("unet.{dotted}", ".lora_B.weight", ".lora_A.weight"),
    "PEFT, bare": ("{dotted}", ".lora_B.weight", ".lora_A.weight"),
    "old diffusers": ("unet.{processor}", "_lora.up.weight", "_lora.down.weight"),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_names_of_every_trainer_find_their_weights(naming, tiny, tmp_path):
    layer, up_name, down_name = NAMINGS[naming]
    weights, published = tiny.unet.state_dict(), unet_names(tiny.unet)
    targets = (QUERY, OUT) if naming == "old diffusers" else (QUERY, OUT, CONV)
    pairs, tensors = {name: pair(weights[name]) for name in targets}, {}
    for name, (up, down) in pairs.items():
        dotted = name.removesuffix(".weight")
        key = layer.format(
            dotted=dotted,
            flat=dotted.replace(".", "_"),
            published=published[name].removesuffix(".weight").replace(".", "_"),
            processor=dotted.removesuffix(".0").replace(".to_", ".processor.to_"),
        )
        tensors |= {key + up_name: up, key + down_name: down}
    save_file(tensors, tmp_path / "a.safetensors")
    found = differences(tiny.unet, merged(tiny, tmp_path / "a.safetensors", 0.5).unet)
    assert found.keys() == set(targets)
    for name, (up, down) in pairs.items():
        assert torch.allclose(found[name], 0.5 * change(up, down), atol=1e-6)


def test_alpha_scales_by_the_rank(tiny, tmp_path):
    up, down = pair(tiny.unet.state_dict()[QUERY], rank=4)
    layer = "lora_unet_" + QUERY.removesuffix(".weight").replace(".", "_")
    tensors = {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down, f"{layer}.alpha": torch.tensor(1.0)}
    save_file(tensors, tmp_path / "a.safetensors")
    found = differences(tiny.unet, merged(tiny, tmp_path / "a.safetensors").unet)
    assert torch.allclose(found[QUERY], change(up, down) / 4, atol=1e-6)


def test_text_encoders_change_too_and_the_empty_prompt_with_them(tiny, tmp_path, caplog):
    config = CLIPTextConfig(hidden_size=12, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1)
    layer = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    tensors = {f"{layer}.lora_up.weight": draw(12, 2), f"{layer}.lora_down.weight": draw(2, 12)}
    save_file(tensors, tmp_path / "a.safetensors")
    assert not differences(tiny.unet, merged(tiny, tmp_path / "a.safetensors").unet)
    assert "also changes a text encoder, which the model does not have" in caplog.text
    tiny.text_encoder = CLIPTextModel(config)
    changed = merged(tiny, tmp_path / "a.safetensors")
    (found,) = differences(tiny.text_encoder, changed.text_encoder).values()
    assert torch.allclose(found, draw(12, 2) @ draw(2, 12), atol=1e-6)
    with torch.no_grad():
        wanted = changed.text_encoder(torch.tensor([[49406] + [49407] * 76])).last_hidden_state
    assert torch.allclose(changed.context, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"lora_unet_nothing.lora_up.weight": (4, 2), "lora_unet_nothing.lora_down.weight": (2, 4)},
            "has no lora_unet_no",
        ),
        ({"lora_unet_mid_block_resnets_0_conv1.lora_up.weight": (4, 2)}, "is incomplete: download it again"),
        ({"lora_unet_x.hada_w1_a": (4, 2)}, "is a LoHa, which is not supported"),
        ({"model.weight": (4, 2)}, "is not a LoRA for Stable Diffusion 1.5: it has the tensor model.weight"),
        (
            {
                "lora_unet_mid_block_resnets_0_conv1.lora_up.weight": (4, 2, 1, 1),
                "lora_unet_mid_block_resnets_0_conv1.lora_down.weight": (2, 4, 3, 3),
            },
            "has another shape",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(tiny, tmp_path, tensors, message):
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "a.safetensors")
    before = copy.deepcopy(tiny.unet)
    with pytest.raises(InputError, match=message):
        merge_weight_lora(tmp_path / "a.safetensors", 1.0, tiny)
    with pytest.raises(InputError, match="strength"):
        merge_weight_lora(tmp_path / "a.safetensors", float("nan"), tiny)
    assert not differences(before, tiny.unet)


def test_ours_goes_to_the_network_that_it_names(tiny, tmp_path):
    pairs = {name: pair(tiny.appearance.state_dict()[name]) for name in (QUERY, OUT)}
    save_lora(tmp_path / "a.safetensors", "appearance", pairs)
    changed = merged(tiny, tmp_path / "a.safetensors")
    assert not differences(tiny.unet, changed.unet)
    found = differences(tiny.appearance, changed.appearance)
    assert all(torch.allclose(found[name], change(*pairs[name]), atol=1e-6) for name in (QUERY, OUT))
    tiny.appearance = None
    with pytest.raises(InputError, match="a LoRA for the Appearance Control Model, and the model has none"):
        merge_weight_lora(tmp_path / "a.safetensors", 1.0, tiny)


def test_diffusers_converts_our_names_to_the_same_change(tiny, tmp_path):
    """diffusers' own conversion of kohya's names, without PEFT, which applies it."""
    pairs = {name: pair(tiny.unet.state_dict()[name]) for name in (QUERY, OUT)}
    save_lora(tmp_path / "a.safetensors", "unet", pairs)
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(load_file(tmp_path / "a.safetensors"))
    for name, (up, down) in pairs.items():
        layer = f"unet.{name.removesuffix('.0.weight').removesuffix('.weight')}"
        found = {key: tensor for key, tensor in state.items() if key.replace(".processor.", ".").startswith(layer)}
        assert len(found) == 2 and all(torch.equal(found[key], up if "up" in key else down) for key in found)
    assert len(state) == 4 and set(alphas.values()) == {2.0}


def test_diffusers_loads_ours(tiny, tmp_path):
    pytest.importorskip("peft")
    pairs = {name: pair(tiny.unet.state_dict()[name]) for name in (QUERY, OUT)}
    save_lora(tmp_path / "a.safetensors", "unet", pairs)
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(load_file(tmp_path / "a.safetensors"))
    unet = copy.deepcopy(tiny.unet)
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(state, alphas, unet)
    unet.fuse_lora()
    fused = {k.replace(".base_layer", ""): w for k, w in unet.state_dict().items() if "lora_" not in k}
    wanted = merged(tiny, tmp_path / "a.safetensors").unet.state_dict()
    assert all(torch.allclose(fused[name], wanted[name], atol=1e-5) for name in wanted)
