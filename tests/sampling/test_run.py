"""One run: its phases in order, lazily decoded frames, and the same pixels for everybody who calls it."""

from dataclasses import replace

import pytest
import torch

from magicdance_core import MagicDancePipeline
from magicdance_core.models import vae_scale_factor
from magicdance_core.sampling import Phase, Placement, SamplingSettings, prepare, run

FRAMES, HEIGHT, WIDTH = 3, 24, 40


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


REFERENCE, MAPS = draw(2, 3, 32, 16), draw(FRAMES, 3, HEIGHT, WIDTH, seed=1)


@pytest.fixture
def call(tiny):
    """A run of two steps; keyword arguments replace parts of the model, settings, or options of `run`."""

    def run_with(placement=None, appearance=tiny.appearance, pose=tiny.pose, **options):
        model = replace(tiny, appearance=appearance, pose=pose)
        settings = SamplingSettings(2, 2.0, **options)
        noise = torch.Generator().manual_seed(3)
        resolved, inputs = prepare(model, settings, REFERENCE, MAPS, FRAMES, generator=noise)
        return run(model, resolved, inputs, MAPS, placement=placement)

    return run_with


def test_the_pipeline_is_this_run(call, tiny):
    sample = call(frames_per_batch=2, decode_chunk_size=2)
    settings = SamplingSettings(2, 2.0, frames_per_batch=2, decode_chunk_size=2)
    noise = torch.Generator().manual_seed(3)
    out = MagicDancePipeline(tiny)(REFERENCE, MAPS, generator=noise, settings=settings, output_type="pt")
    parts = list(sample.frames)
    assert [len(part) for part in parts] == [2, 1] and torch.equal(torch.cat(parts), out.frames)
    assert sample.latents.shape == (FRAMES, 4, HEIGHT // 4, WIDTH // 4)


def test_each_phase_is_announced_before_its_networks_run(call, tiny):
    seen = []
    for name in ("unet", "appearance", "pose"):
        getattr(tiny, name).register_forward_pre_hook(lambda module, args, name=name: seen.append(name))
    tiny.vae.encoder.register_forward_pre_hook(lambda module, args: seen.append("encode"))
    tiny.vae.decoder.register_forward_pre_hook(lambda module, args: seen.append("decode"))
    tiny.pose.controlnet_cond_embedding.conv_in.register_forward_pre_hook(lambda module, args: seen.append("hint"))
    placement = replace(Placement.of(tiny), load=seen.append)
    sample = call(placement, frames_per_batch=2, decode_chunk_size=8)
    encoding, denoising = Phase(("vae",), 2, 32, 16), Phase(("unet", "appearance", "pose"), 2 + 2, 6, 10)
    assert seen[:3] == [encoding, "encode", denoising] and {"hint", "appearance", "unet"} <= set(seen[3:])
    assert "decode" not in seen and sum(isinstance(event, Phase) for event in seen) == 2
    done = len(seen)
    next(sample.frames)
    assert seen[done:] == [Phase(("vae",), FRAMES, HEIGHT, WIDTH), "decode"]


def test_a_missing_control_is_neither_announced_nor_encoded(call, tiny):
    seen = []
    call(replace(Placement.of(tiny), load=seen.append), appearance=None, pose=None)
    assert seen == [Phase(("unet",), FRAMES, 6, 10)]


def test_batched_guidance_is_decided_by_the_placement(call, tiny):
    seen, asked = [], []
    placement = replace(Placement.of(tiny), load=seen.append, fits_batched=lambda *size: asked.append(size) or True)
    call(placement, frames_per_batch=2)
    assert asked == [(2, 6 * 10)] and seen[1].batch == 2 * 2 + 2


@pytest.mark.parametrize("network", ["vae", "pose", "appearance"])
def test_networks_compute_in_the_dtype_of_the_placement(call, tiny, network):
    class Seen(Exception):
        pass

    def look(module, args):
        raise Seen(args[0].dtype)

    first = {"vae": tiny.vae.encoder, "pose": tiny.pose.controlnet_cond_embedding, "appearance": tiny.appearance}
    if network == "appearance":
        tiny.pose.encode_pose = lambda maps: torch.zeros(len(maps), 16, 6, 10, dtype=maps.dtype)
    first[network].register_forward_pre_hook(look)
    options = {"appearance": None} if network == "pose" else {}
    changes = {"vae" if network == "vae" else "unet": (torch.device("cpu"), torch.bfloat16)}
    with pytest.raises(Seen, match="bfloat16"):
        call(replace(Placement.of(tiny), **changes), **options)


def test_factor_of_the_vae(tiny, published):
    assert vae_scale_factor(tiny.vae) == 4 and vae_scale_factor(published.vae) == 8
