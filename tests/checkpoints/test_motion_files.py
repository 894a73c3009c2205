"""Motion modules of every known format, in small, with the names of their authors."""

import json

import pytest
import torch
from diffusers import MotionAdapter
from safetensors.torch import load_file, save_file

from magicdance_core.checkpoints import load_folder, load_motion, merge_lora, save_folder, save_motion, save_published
from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule

WIDTHS = [32, 64]
SHAPE = {"block_out_channels": WIDTHS, "motion_layers_per_block": 1, "motion_max_seq_length": 24}
FORWARD = {
    ".pos_embed.pe": ".attention_blocks.0.pos_encoder.pe",
    ".attn1.": ".attention_blocks.0.",
    ".attn2.": ".attention_blocks.1.",
    ".norm1.": ".norms.0.",
    ".norm2.": ".norms.1.",
    ".norm3.": ".ff_norm.",
}


def adapter(**changes):
    torch.manual_seed(0)
    return MotionAdapter(**SHAPE | changes)


def animatediff(module):
    """Return a state dict with AnimateDiff's names."""
    state = {}
    for name, tensor in module.state_dict().items():
        block, index, rest = name.split(".motion_modules.")[0], *name.split(".motion_modules.")[1].split(".", 1)
        rest = f".{rest}"
        for ours, theirs in FORWARD.items():
            rest = rest.replace(ours, theirs)
        state[f"{block}.motion_modules.{index}.temporal_transformer{rest}"] = tensor
        if rest.endswith("pos_encoder.pe"):
            second = rest.replace("attention_blocks.0", "attention_blocks.1")
            state[f"{block}.motion_modules.{index}.temporal_transformer{second}"] = tensor.clone()
    return state


def same(module, source):
    weights = module.state_dict()
    return weights.keys() == source.state_dict().keys() and all(
        torch.equal(weights[name], tensor) for name, tensor in source.state_dict().items()
    )


@pytest.fixture
def write(tmp_path):
    def write(state, name="module.ckpt"):
        path = tmp_path / name
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        return path

    return write


@pytest.mark.parametrize(
    ("make", "changes", "over_frames"),
    [
        ("v1, TemporalDiff", {"use_motion_mid_block": False}, True),
        ("v2", {"motion_max_seq_length": 32}, False),
        ("v3", {"motion_max_seq_length": 32, "use_motion_mid_block": False}, False),
    ],
)
@pytest.mark.parametrize("name", ["module.ckpt", "module.safetensors"])
def test_animatediff_versions_are_loaded(write, make, changes, over_frames, name):
    source = adapter(**changes)
    module = load_motion(write(animatediff(source), name))
    assert isinstance(module, MotionModule) and same(module, source)
    assert module.max_frames == changes.get("motion_max_seq_length", 24)
    assert (module.mid_block is not None) == changes.get("use_motion_mid_block", True)
    assert module.config.norm_over_frames == over_frames
    assert (module.config.noise, module.config.beta_schedule) == ("independent", "linear")


def test_animatelcm_without_position_embeddings_is_loaded(write):
    source = adapter(motion_max_seq_length=32)
    state = {name: tensor for name, tensor in animatediff(source).items() if "pos_encoder" not in name}
    module = load_motion(write(state), torch.float16)
    assert module.max_frames == 32 and not module.config.norm_over_frames
    assert {tensor.dtype for tensor in module.state_dict().values()} == {torch.float16}
    assert same(module, source.half())


@pytest.mark.parametrize("prefix", ["", "module.", "unet."])
def test_prefixes_of_wrappers_are_ignored(write, prefix):
    source = adapter()
    state = {prefix + name: tensor for name, tensor in animatediff(source).items()}
    unet = {f"{prefix}conv_in.weight": torch.zeros(32, 4, 3, 3), f"{prefix}down_blocks.0.resnets.0.x": torch.zeros(1)}
    wrapped = {"epoch": 1, "state_dict": state | unet, "animatediff_config": {"a": 1}}
    assert same(load_motion(write(wrapped)), source)


def test_diffusers_formats_are_loaded(tmp_path, write):
    source = adapter(motion_num_attention_heads=4, motion_norm_num_groups=16, use_motion_mid_block=False)
    source.save_pretrained(tmp_path / "folder")
    module = load_motion(tmp_path / "folder")
    assert same(module, source) and module.config.norm_over_frames
    assert (
        module.layer("up_blocks", 0, 1).num_attention_heads == 4
        and module.layer("up_blocks", 0, 1).norm.num_groups == 16
    )
    assert (
        load_motion(write(source.state_dict(), "bare.safetensors")).layer("down_blocks", 0, 0).num_attention_heads == 8
    )


def test_saved_module_is_loaded_again(tmp_path):
    torch.manual_seed(0)
    source = MotionModule(**SHAPE | {"motion_norm_num_groups": 8}, noise="mixed", beta_schedule="scaled_linear")
    save_motion(tmp_path / "ours.safetensors", source)
    module = load_motion(tmp_path / "ours.safetensors")
    assert same(module, source)
    assert (module.config.noise, module.config.beta_schedule) == ("mixed", "scaled_linear")
    assert module.layer("down_blocks", 0, 0).norm.num_groups == 8
    MotionAdapter(**SHAPE | {"motion_norm_num_groups": 8}).load_state_dict(load_file(tmp_path / "ours.safetensors"))
    with pytest.raises(InputError, match="ends in .safetensors"):
        save_motion(tmp_path / "ours.ckpt", source)


def test_models_keep_their_motion_module(tmp_path, tiny, write):
    torch.manual_seed(0)
    tiny.motion = MotionModule(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_norm_num_groups=8, noise="shared"
    )
    tiny.motion.add_temporal_decoder(tiny.vae)
    save_folder(tmp_path / "model", tiny)
    assert same(load_folder(tmp_path / "model").motion, tiny.motion)
    assert load_folder(tmp_path / "model", controls=False).motion is None
    save_motion(tmp_path / "alone.safetensors", tiny.motion)
    assert same(load_motion(tmp_path / "alone.safetensors"), tiny.motion)
    save_published(tmp_path / "model.safetensors", tiny)
    one_file = load_motion(tmp_path / "model.safetensors")
    assert same(one_file, tiny.motion) and one_file.config == load_folder(tmp_path / "model").motion.config
    again = load_motion(tmp_path / "model", torch.float16)
    assert again.config.noise == "shared" and again.dtype == torch.float16


def loras(module, prefix, middle, rank=2):
    state = {}
    for name, weight in module.state_dict().items():
        if ".attn1.to_" in name and name.endswith(".weight"):
            layer = name.removesuffix(".weight").removesuffix(".0")
            if ".motion_modules." in layer:
                layer = layer.replace(".attn1.", ".attention_blocks.0.").replace(
                    ".transformer_blocks", ".temporal_transformer.transformer_blocks"
                )
            layer, projection = layer.rsplit(".", 1)
            for side, shape in (("down", (rank, weight.shape[1])), ("up", (weight.shape[0], rank))):
                state[f"{prefix}{layer}{middle.format(projection, side)}.weight"] = torch.randn(shape)
    return state


@pytest.mark.parametrize("middle", [".processor.{}_lora.{}", ".{}.lora.{}"])
@pytest.mark.parametrize("target", ["motion", "unet"])
def test_lora_is_merged(write, tiny, target, middle):
    """A motion LoRA changes the module, AnimateDiff v3's adapter the UNet."""
    torch.manual_seed(0)
    networks = {"motion": MotionModule(**SHAPE), "unet": tiny.unet}
    state = loras(networks[target], "unet." if "processor" in middle else "", middle)
    before = {name: {k: v.clone() for k, v in network.state_dict().items()} for name, network in networks.items()}
    merge_lora(write(state), 0.5, **networks)
    changed = {
        (name, key)
        for name, network in networks.items()
        for key, value in network.state_dict().items()
        if not torch.equal(value, before[name][key])
    }
    assert {name for name, _ in changed} == {target} and len(changed) == len(state) // 2
    key = next(key for _, key in sorted(changed) if key.endswith("to_out.0.weight"))
    down, up = (
        next(t for n, t in state.items() if n.endswith(f"{side}.weight") and "to_out" in n and _block(n) == _block(key))
        for side in ("down", "up")
    )
    expected = before[target][key] + 0.5 * up @ down
    assert torch.allclose(networks[target].state_dict()[key], expected, atol=1e-6)


def _block(name):
    name = name.removeprefix("unet.").replace(".temporal_transformer", "")
    return name.split(".transformer_blocks")[0]


def test_loras_that_do_not_fit_are_refused(write, tiny):
    motion = MotionModule(**SHAPE)
    with pytest.raises(InputError, match="not a LoRA"):
        merge_lora(write(motion.state_dict()), 1.0, motion, tiny.unet)
    state = loras(MotionModule(**SHAPE | {"block_out_channels": [32, 32]}), "", ".processor.{}_lora.{}")
    before = {name: tensor.clone() for name, tensor in motion.state_dict().items()}
    with pytest.raises(InputError, match="another shape"):
        merge_lora(write(state), 1.0, motion, tiny.unet)
    with pytest.raises(InputError, match="which has no"):
        merge_lora(
            write(loras(adapter(motion_layers_per_block=2), "", ".processor.{}_lora.{}")), 1.0, motion, tiny.unet
        )
    assert all(torch.equal(tensor, before[name]) for name, tensor in motion.state_dict().items())


def sdxl():
    with torch.device("meta"):
        shapes = animatediff(MotionAdapter(block_out_channels=[320, 640, 1280], motion_layers_per_block=1))
    return {
        name: torch.zeros(shape.shape)
        for name, shape in shapes.items()
        if ".0.motion_modules.0." in name or "norm" in name
    }


def test_other_files_are_named_by_their_kind(write, tmp_path):
    motion = adapter()
    cases = {
        "a module for SDXL": sdxl(),
        "HotShot-XL": {"down_blocks.0.temporal_attentions.0.norm.weight": torch.zeros(2)},
        "PIA": animatediff(motion) | {"conv_in.weight": torch.zeros(32, 9, 3, 3)},
        "a motion LoRA": loras(motion, "", ".processor.{}_lora.{}"),
        "has no motion module": {"conv_in.weight": torch.zeros(32, 4, 3, 3)},
    }
    for message, state in cases.items():
        with pytest.raises(InputError, match=message):
            load_motion(write(state))
    with pytest.raises(InputError, match="spatial LoRA"):
        load_motion(write({"down_blocks.0.attentions.0.attn1.processor.to_q_lora.up.weight": torch.zeros(2, 2)}))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="has no weights"):
        load_motion(tmp_path / "folder")


def test_missing_and_extra_tensors_are_named(write):
    state = animatediff(adapter())
    gone = "down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight"
    del state[gone]
    state["up_blocks.0.motion_modules.0.temporal_transformer.gate"] = torch.zeros(1)
    with pytest.raises(
        InputError, match=r"1 missing \(down_blocks.0.*proj_in.weight\) and 1 extra \(up_blocks.0.*gate"
    ):
        load_motion(write(state))
    with pytest.raises(InputError, match="incomplete"):
        load_motion(write({name: tensor for name, tensor in state.items() if name.startswith("up_blocks")}))


@pytest.mark.parametrize("strength", [float("nan"), float("inf"), -float("inf"), 1e9, "1", None, True])
def test_a_strength_that_is_no_number_is_refused_before_anything_is_read(write, strength):
    motion = MotionModule(**SHAPE)
    with pytest.raises(InputError, match="The strength of .*absent.safetensors is"):
        merge_lora("absent.safetensors", strength, motion)


def test_the_picture_encoder_of_animatelcm_i2v_is_named_instead_of_dropped(write):
    state = animatediff(adapter()) | {"img_encoder.conv_in.weight": torch.zeros(8, 4, 3, 3)}
    with pytest.raises(InputError, match="is AnimateLCM-I2V, which also reads a picture"):
        load_motion(write(state))
