"""The published layout and related single files: what is loaded and what is refused, with its messages."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from magicdance_core import MagicDancePipeline
from magicdance_core.checkpoints import (
    ROLES,
    load,
    load_control,
    load_published,
    load_tensors,
    read_tensors,
    save_published,
)
from magicdance_core.errors import InputError
from magicdance_core.models import SourceAttention

APPEARANCE, POSE = "appearance_control_model.", "pose_control_model."
BACKBONE = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.")


@pytest.fixture(scope="module")
def state(published_files):
    return load_file(published_files[".safetensors"])


@pytest.fixture
def write(tmp_path):
    def write(state, name="model.safetensors"):
        save_file(state, tmp_path / name)
        return tmp_path / name

    return write


def weights(network):
    return network.state_dict()


def same(one, other):
    other = weights(other)
    return all(torch.equal(value, other[key]) for key, value in weights(one).items())


def renamed(state, old, new):
    return {new + key.removeprefix(old): value for key, value in state.items() if key.startswith(old)}


def backbone(state):
    return {key: value for key, value in state.items() if key.startswith(BACKBONE)}


def test_architecture_is_derived_from_shapes(published):
    unet, pose = published.unet.config, published.pose.config
    assert list(unet.block_out_channels) == [32, 64, 128, 128] and unet.layers_per_block == 2
    assert list(unet.down_block_types) == ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"]
    assert unet.cross_attention_dim == 64 and unet.attention_head_dim == 8 and not unet.use_linear_projection
    assert list(pose.conditioning_embedding_out_channels) == [16, 32, 96, 256]
    assert published.text_encoder.config.num_attention_heads == 4
    assert all(isinstance(processor, SourceAttention) for processor in published.unet.attn_processors.values())
    assert not published.unet.training and published.scheduler.config.prediction_type == "epsilon"


@pytest.mark.parametrize("suffix, dtype", [(".th", torch.float16), (".safetensors", torch.float32)])
def test_dtype_is_converted_in_little_memory(published_files, published, suffix, dtype):
    lean = load_published(published_files[suffix], dtype)
    for role in ("unet", "vae", "text_encoder", "appearance", "pose"):
        full = weights(getattr(published, role))
        for name, weight in weights(getattr(lean, role)).items():
            assert weight.dtype == dtype
            assert weight.untyped_storage().nbytes() == weight.nbytes  # its own memory, no view of the file
            assert torch.equal(weight, full[name].to(dtype))
    assert lean.context.dtype == torch.float32


def test_weights_stay_valid_without_their_file(published_files, tmp_path):
    path = tmp_path / "gone.safetensors"
    path.write_bytes(published_files[".safetensors"].read_bytes())
    components = load_published(path)
    before = components.unet.conv_in.weight.clone()
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(components.unet.conv_in.weight, before)


def test_stored_dtype_is_kept(state, write):
    half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    half["model.diffusion_model.input_blocks.1.1.norm.weight"] = half[
        "model.diffusion_model.input_blocks.1.1.norm.weight"
    ].float()
    components = load_published(write(half))
    assert {weight.dtype for weight in weights(components.unet).values()} == {torch.float32}  # the widest of its own
    assert components.vae.dtype == components.pose.dtype == torch.float16


def test_faulty_tensors_are_named_and_counted(state, write):
    broken = dict(state)
    for layer in ("in", "q", "k"):
        broken.pop(f"{POSE}input_blocks.2.1.transformer_blocks.0.attn1.to_{layer}.weight", None)
    broken["model.diffusion_model.out.2.bias"] = torch.zeros(5)
    broken[f"{APPEARANCE}surprise.weight"] = torch.zeros(1)
    broken["elsewhere.bias"] = torch.zeros(1)
    with pytest.raises(InputError) as error:
        load_published(write(broken))
    message = str(error.value)
    assert "model.safetensors does not fit" in message
    assert "2 missing (pose_control_model.input_blocks.2.1.transformer_blocks.0.attn1.to_q.weight" in message
    assert "1 mis-shaped (model.diffusion_model.out.2.bias is 5 instead of 4)" in message
    assert f"2 extra ({APPEARANCE}surprise.weight, elsewhere.bias)" in message


def test_long_lists_of_faults_are_truncated(state, write):
    with pytest.raises(InputError, match=r"26 missing \(first_stage_model[^,]*, [^,]*, [^,]*, \.\.\.\)"):
        load_published(write({k: v for k, v in state.items() if "first_stage_model.decoder.up.0.block" not in k}))


def test_stable_diffusion_without_controls(state, write):
    harmless = ("model_ema.x", "logvar", "sqrt_recip_alphas_cumprod", "posterior_variance", "first_stage_model.loss.x")
    path = write(backbone(state) | {name: torch.zeros(3) for name in harmless})
    components = load(path)
    assert components.appearance is None and components.pose is None and components.text_encoder is not None
    with pytest.raises(InputError, match="lacks the Appearance Control Model .it has the UNet"):
        load_published(path)


def test_backbone_of_a_full_file(published_files, published):
    components = load(published_files[".safetensors"], controls=False)
    assert components.appearance is None and components.pose is None and same(components.unet, published.unet)


def test_text_encoder_with_its_other_prefix(state, write, published):
    old = "cond_stage_model.transformer.text_model."
    rest = {key: value for key, value in backbone(state).items() if not key.startswith(old)}
    components = load(write(rest | renamed(state, old, "cond_stage_model.transformer.")))
    assert torch.equal(components.context, published.context)


def test_stage_1_file_is_recognised(state, write, published):
    stage_1 = backbone(state) | renamed(state, APPEARANCE, "control_model.")
    path = write(stage_1)
    with pytest.raises(InputError, match="is a stage-1 file"):
        MagicDancePipeline.from_single_file(path)
    assert same(load_control(path, "appearance"), published.appearance)
    assert same(load(path).appearance, published.appearance)
    with pytest.raises(InputError, match="lacks the Pose ControlNet"):
        load_control(path, "pose")


@pytest.mark.parametrize("prefix", ["control_model.", ""])
def test_bare_controlnet(state, write, published, prefix):
    path = write(renamed(state, POSE, prefix))
    assert same(load_control(path, "pose"), published.pose)
    with pytest.raises(InputError, match="lacks the Appearance Control Model"):
        load_control(path, "appearance")
    with pytest.raises(InputError, match="lacks the UNet"):
        load(path)


def test_controlnet_under_diffusers_names(write, published):
    path = write(weights(published.pose))
    loaded = load_control(path, "pose", torch.float32)
    assert same(loaded, published.pose)
    assert list(loaded.config.conditioning_embedding_out_channels) == [16, 32, 96, 256]
    assert list(loaded.config.block_out_channels) == [32, 64, 128, 128]


def test_controls_of_a_full_file(published_files, published):
    assert same(load_control(published_files[".safetensors"], "pose"), published.pose)
    assert same(load_control(published_files[".safetensors"], "appearance"), published.appearance)


def test_unused_tensors_are_dropped(published, tmp_path, state):
    save_published(tmp_path / "lean.safetensors", published)
    kept = load_file(tmp_path / "lean.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in kept.items())
    dropped = {key for key in state if key not in kept}
    assert sum(key.startswith(f"{APPEARANCE}output_blocks.11.1.") for key in dropped) == 20
    assert all("." not in key or key.startswith(APPEARANCE) or "position_ids" in key for key in dropped)


def test_other_families_are_refused(state, write):
    widened = dict(backbone(state))
    for key, value in state.items():
        if key.startswith(BACKBONE[0]) and "attn2.to_k" in key:
            widened[key] = torch.zeros(len(value), 1024)
        if key.endswith((".proj_in.weight", ".proj_out.weight")) and key.startswith(BACKBONE[0]):
            widened[key] = value[:, :, 0, 0].clone()
    with pytest.raises(InputError, match="Stable Diffusion 2 or XL"):
        load(write(widened))
    with pytest.raises(InputError, match="lacks the UNet .it has no known network"):
        load(write({"lora_unet_down.weight": torch.zeros(2, 2)}))
    inpainting = backbone(state)
    inpainting["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 9, 3, 3)
    with pytest.raises(InputError, match="is 32 x 9 x 3 x 3 instead of 32 x 4 x 3 x 3"):
        load(write(inpainting))
    with pytest.raises(InputError, match="incomplete, its VAE lacks first_stage_model.post_quant_conv.weight"):
        load(write({key: value for key, value in backbone(state).items() if "post_quant_conv" not in key}))


def test_dtypes_differ_by_role(published_files):
    wanted = {"unet": torch.float16, "vae": torch.bfloat16}
    components = load(published_files[".safetensors"], wanted, controls=False)
    assert components.unet.dtype == torch.float16 and components.vae.dtype == torch.bfloat16
    assert components.text_encoder.dtype == torch.float32  # not named: as stored


@pytest.mark.parametrize("role, prefix", [("unet", BACKBONE[0]), ("vae", BACKBONE[1])])
def test_network_is_loaded_from_tensors_in_memory(state, published, role, prefix):
    tensors = renamed(state, prefix, "")
    network = load_tensors(tensors, role, "The connected MODEL", torch.float32)
    assert same(network, getattr(published, role))
    del tensors[next(name for name in tensors if name.endswith("norm1.bias"))]
    with pytest.raises(InputError, match="The connected MODEL does not fit .* 1 missing"):
        load_tensors(tensors, role, "The connected MODEL")


@pytest.mark.parametrize("suffix", [".th", ".safetensors"])
def test_tensors_are_read_with_published_names(published_files, state, suffix):
    tensors = read_tensors(published_files[suffix], ["unet", "pose"])
    assert {role: len(part) for role, part in tensors.items()} == {"unet": 686, "pose": 340}
    for role, part in tensors.items():
        assert all(torch.equal(tensor, state[ROLES[role].prefix + name]) for name, tensor in part.items())


def test_tensors_of_an_incomplete_network_are_named(state, write):
    short = write({name: tensor for name, tensor in state.items() if name != f"{POSE}zero_convs.3.0.bias"})
    assert read_tensors(short, ["unet"])
    with pytest.raises(InputError, match="zero_convs.3.0.bias"):
        read_tensors(short, ["pose"])
