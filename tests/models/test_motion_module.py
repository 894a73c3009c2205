import copy
import math
import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel, UNetMotionModel
from torch import nn

from magicdance_core.errors import InputError
from magicdance_core.models import use_source_attention
from magicdance_core.models.motion_module import MotionModule, add_temporal_hooks, apply_motion, check_motion_fits

FRAMES, CLIPS = 5, 2
CONFIG = {
    "block_out_channels": [8, 16],
    "motion_layers_per_block": 1,
    "motion_num_attention_heads": 2,
    "motion_norm_num_groups": 4,
    "motion_max_seq_length": 8,
}


@pytest.fixture
def unet():
    torch.manual_seed(0)
    network = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=12,
        norm_num_groups=4,
    ).eval()
    use_source_attention(network)
    return network.requires_grad_(False)


@pytest.fixture
def motion():
    torch.manual_seed(1)
    module = MotionModule(**CONFIG).eval().requires_grad_(False)
    for parameter in module.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return module


@pytest.fixture
def call(unet):
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(CLIPS * FRAMES, 4, 8, 8, generator=generator)
    context = torch.randn(1, 3, 12, generator=generator)

    def run(motion=None, scale=1.0, frames=FRAMES, latents=latents, network=unet):
        with apply_motion(network, motion, frames, scale):
            return network(latents, 501, context, return_dict=False)[0]

    run.latents = latents
    return run


def plain_layer(layer, hidden, frames):
    """The published layer in float64, one position at a time."""

    def linear(module, x):
        return x @ module.weight.double().T + (0 if module.bias is None else module.bias.double())

    def norm(module, x):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt()
        return x * module.weight.double() + module.bias.double()

    def attend(attention, x):
        heads, width = attention.heads, x.shape[-1] // attention.heads
        query, key, value = (linear(m, x) for m in (attention.to_q, attention.to_k, attention.to_v))
        out = torch.empty_like(x)
        for h in range(heads):
            part = slice(h * width, (h + 1) * width)
            scores = query[:, part] @ key[:, part].T / math.sqrt(width)
            out[:, part] = scores.softmax(-1) @ value[:, part]
        return linear(attention.to_out[0], out)

    hidden = hidden.double()
    groups, (_, channels, height, width) = layer.norm.num_groups, hidden.shape
    x = hidden.reshape(len(hidden), groups, -1)
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + layer.norm.eps).sqrt()
    x = x.reshape(hidden.shape) * layer.norm.weight.double()[:, None, None] + layer.norm.bias.double()[:, None, None]
    position = torch.arange(frames, dtype=torch.float64)[:, None]
    angle = position * 10000 ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
    table = torch.stack([angle.sin(), angle.cos()], -1).reshape(frames, channels)
    out = torch.empty_like(hidden)
    for clip in range(len(hidden) // frames):
        rows = slice(clip * frames, (clip + 1) * frames)
        for i in range(height):
            for j in range(width):
                tokens = linear(layer.proj_in, x[rows, :, i, j])
                block = layer.transformer_blocks[0]
                tokens = tokens + attend(block.attn1, norm(block.norm1, tokens) + table)
                tokens = tokens + attend(block.attn2, norm(block.norm2, tokens) + table)
                value, gate = linear(block.ff.net[0].proj, norm(block.norm3, tokens)).chunk(2, -1)
                tokens = tokens + linear(block.ff.net[2], value * 0.5 * gate * (1 + torch.erf(gate / math.sqrt(2))))
                out[rows, :, i, j] = hidden[rows, :, i, j] + linear(layer.proj_out, tokens)
    return out


@pytest.mark.parametrize("place", [("down_blocks", 0, 0), ("mid_block", 0, 0), ("up_blocks", 1, 1)])
def test_layer_computes_what_animatediff_published(motion, relative_error, place):
    layer = motion.layer(*place)
    hidden = torch.randn(CLIPS * FRAMES, layer.in_channels, 3, 4, generator=torch.Generator().manual_seed(3))
    expected = plain_layer(layer, hidden, FRAMES)
    assert relative_error(expected, hidden) > 0.1
    assert relative_error(motion.mix(layer, hidden, FRAMES), expected) < 1e-5
    half = motion.mix(layer, hidden, FRAMES, scale=0.5)
    assert relative_error(half, (expected + hidden) / 2) < 1e-5


class OverClip(nn.Module):
    """diffusers' group norm of a temporal layer, which takes its statistics of the clip."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x.unflatten(0, (-1, FRAMES)).transpose(1, 2)).transpose(1, 2).flatten(0, 1)


def test_layers_are_placed_as_in_diffusers(unet, motion, call, relative_error):
    network = UNetMotionModel.from_unet2d(unet, motion).eval()
    clips = call.latents.unflatten(0, (CLIPS, FRAMES)).transpose(1, 2)
    context = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(4))
    context = context.expand(len(call.latents), -1, -1)
    expected = network(clips, 501, context, return_dict=False)[0].detach().transpose(1, 2).flatten(0, 1)
    for layer in [m for m in motion.modules() if hasattr(m, "transformer_blocks")]:
        layer.norm = OverClip(layer.norm)
    with apply_motion(unet, motion, FRAMES):
        out = unet(call.latents, 501, context, return_dict=False)[0]
    assert relative_error(out, expected) < 1e-5


def test_no_module_and_scale_0_change_nothing(unet, motion, call):
    before = call()
    assert not torch.allclose(call(motion), before, atol=1e-3)
    assert torch.equal(call(), before)
    assert torch.equal(call(motion, scale=0.0), before)
    assert torch.equal(call(copy.deepcopy(motion).zero_init()), before)


def test_scale_interpolates(motion, call):
    off, near, far = (call(motion, scale=scale) for scale in (0.0, 0.1, 0.5))
    assert 0 < (near - off).norm() < (far - off).norm() < (call(motion) - off).norm()


def test_an_exception_unsets_the_clip(unet, motion, call):
    before = call()
    with pytest.raises(RuntimeError):
        call(motion, latents=call.latents[:, :3])
    assert unet.temporal_hooks.clip is None
    assert torch.equal(call(), before)


def test_frames_attend_only_to_their_clip(motion, call):
    changed = call.latents.clone()
    changed[0] += 1
    difference = (call(motion, latents=changed) - call(motion)).abs().amax(dim=(1, 2, 3))
    assert (difference[:FRAMES] > 1e-5).all() and (difference[FRAMES:] < 1e-6).all()


def test_attention_is_split_below_the_cuda_grid_limit(motion, monkeypatch):
    layer, seen = motion.layer("down_blocks", 0, 0), []
    hidden = torch.randn(2 * FRAMES, 8, 6, 7)
    whole = motion.mix(layer, hidden, FRAMES)
    monkeypatch.setattr("magicdance_core.models.motion_module.MAX_ATTENTIONS", 22)
    layer.transformer_blocks[0].attn1.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    assert torch.allclose(motion.mix(layer, hidden, FRAMES), whole, atol=1e-6)
    assert sum(seen) == 2 * 6 * 7 and max(seen) == 11  # of two heads each


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(unet, motion, call, relative_error, dtype):
    exact = call(motion)
    nn.Module.to(unet, dtype)
    nn.Module.to(motion, dtype)
    context = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(2)).to(dtype)
    with apply_motion(unet, motion, FRAMES):
        out = unet(call.latents.to(dtype), 501, context, return_dict=False)[0]
    assert out.dtype == dtype and out.isfinite().all() and out.shape == exact.shape


def test_residual_blocks_normalise_over_the_clip_for_v1(unet, motion, call, relative_error):
    v1 = MotionModule(**CONFIG, norm_over_frames=True).eval().zero_init().requires_grad_(False)
    add_temporal_hooks(unet)
    block, seen = unet.down_blocks[1].resnets[0], {}
    block.norm1.register_forward_hook(lambda module, args, output: seen.update(output=output))
    block.register_forward_pre_hook(lambda module, args: seen.update(input=args[0]))
    out = call(v1)
    clips = seen["input"].double().unflatten(0, (CLIPS, FRAMES)).transpose(1, 2)
    expected = F.group_norm(clips, 4, block.norm1.weight.double(), block.norm1.bias.double(), block.norm1.eps)
    assert relative_error(seen["output"], expected.transpose(1, 2).flatten(0, 1)) < 1e-5
    assert out.shape == call.latents.shape and not torch.allclose(out, call(), atol=1e-4)
    one_frame = call(v1, frames=1)
    assert torch.allclose(one_frame, call(), atol=1e-5)


@pytest.mark.parametrize("norm_over_frames", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(unet, call, norm_over_frames):
    torch.manual_seed(5)
    motion = MotionModule(**CONFIG, norm_over_frames=norm_over_frames).train()

    def gradients():
        motion.zero_grad()
        call(motion).square().mean().backward()
        return [parameter.grad.clone() for parameter in motion.parameters()]

    plain = gradients()
    assert all(gradient.norm() > 0 for gradient in plain)
    unet.enable_gradient_checkpointing()
    motion.enable_gradient_checkpointing()
    unet.train()
    for one, other in zip(plain, gradients()):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)


@pytest.mark.skipif((3, 13) <= sys.version_info[:3] < (3, 13, 1), reason="Python 3.13.0 breaks torch.compile's guards")
def test_compiled_blocks_apply_motion(unet, motion, call):
    before, off = call(motion), call()
    unet.down_blocks[1].compile(backend="eager", fullgraph=True)
    assert torch.allclose(call(), off, atol=1e-5)
    assert torch.allclose(call(motion), before, atol=1e-5)
    assert torch.allclose(call(), off, atol=1e-5)


def test_module_without_middle_block(unet, call):
    torch.manual_seed(6)
    motion = MotionModule(**CONFIG, use_motion_mid_block=False).eval()
    assert motion.layer("mid_block", 0, 0) is None
    assert not torch.allclose(call(motion), call(), atol=1e-4)


def test_modules_of_other_models_are_refused(unet, motion, call):
    vae = AutoencoderKL()
    check_motion_fits(unet, vae, motion)
    with pytest.raises(InputError, match="widths"):
        check_motion_fits(unet, vae, MotionModule(**CONFIG | {"block_out_channels": [8, 8]}))
    with pytest.raises(InputError, match="layers in down_blocks.0"):
        check_motion_fits(unet, vae, MotionModule(**CONFIG | {"motion_layers_per_block": 2}))
    with pytest.raises(InputError, match="clip has 10 frames and the motion module takes at most 8"):
        call(motion, frames=10)


def test_configuration_is_saved_and_loaded(motion):
    again = MotionModule.from_config(dict(MotionModule(**CONFIG, noise="mixed", norm_over_frames=True).config))
    assert again.config.noise == "mixed" and again.config.norm_over_frames and again.max_frames == 8
    again.load_state_dict(motion.state_dict())
