"""One run: its phases in order, lazily decoded frames, and the same pixels for everybody who calls it."""

import pytest
import torch

from magicdance_core import MagicDancePipeline
from magicdance_core.models import Networks, vae_scale_factor
from magicdance_core.sampling import Phase, get_noise, run

FRAMES, HEIGHT, WIDTH = 3, 24, 40


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


REFERENCE, MAPS = draw(2, 3, 32, 16), draw(FRAMES, 3, HEIGHT, WIDTH, seed=1)


@pytest.fixture
def call(tiny):
    """A run of two steps; keyword arguments replace its inputs."""
    inputs = {
        "networks": Networks(tiny.unet, tiny.appearance, tiny.pose),
        "vae": tiny.vae,
        "scheduler": tiny.scheduler,
        "reference": REFERENCE,
        "pose_maps": MAPS,
        "noise": get_noise((1, 4, HEIGHT // 4, WIDTH // 4), torch.Generator().manual_seed(3)),
        "context": tiny.context,
        "num_inference_steps": 2,
        "guidance_scale": 2.0,
    }
    return lambda **changes: run(**inputs | changes)


def test_the_pipeline_is_this_run(call, tiny):
    sample = call(frames_per_batch=2, decode_batch=2)
    shared = {"generator": torch.Generator().manual_seed(3), "frames_per_batch": 2, "decode_batch": 2}
    out = MagicDancePipeline(tiny)(REFERENCE, MAPS, 2, 2.0, output_type="pt", **shared)
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
    sample = call(before=seen.append, frames_per_batch=2, decode_batch=8)
    encoding, denoising = Phase(("vae",), 2, 32, 16), Phase(("unet", "appearance", "pose"), 2 + 2, 6, 10)
    assert seen[:3] == [encoding, "encode", denoising] and {"hint", "appearance", "unet"} <= set(seen[3:])
    assert "decode" not in seen and sum(isinstance(event, Phase) for event in seen) == 2
    done = len(seen)
    next(sample.frames)
    assert seen[done:] == [Phase(("vae",), FRAMES, HEIGHT, WIDTH), "decode"]


def test_a_control_that_is_absent_is_neither_announced_nor_encoded(call, tiny):
    seen = []
    call(networks=Networks(tiny.unet), before=seen.append)
    assert seen == [Phase(("unet",), FRAMES, 6, 10)]


@pytest.mark.parametrize("option, network", [("vae_place", "vae"), ("place", "pose"), ("place", "appearance")])
def test_inputs_come_as_the_place_says_whatever_the_weights_are(call, tiny, option, network):
    class Seen(Exception):
        pass

    def look(module, args):
        raise Seen(args[0].dtype)

    first = {"vae": tiny.vae.encoder, "pose": tiny.pose.controlnet_cond_embedding, "appearance": tiny.appearance}
    if network == "appearance":
        tiny.pose.encode_pose = lambda maps: torch.zeros(len(maps), 16, 6, 10, dtype=maps.dtype)
    first[network].register_forward_pre_hook(look)
    networks = Networks(tiny.unet, None if network == "pose" else tiny.appearance, tiny.pose)
    with pytest.raises(Seen, match="bfloat16"):
        call(networks=networks, **{option: (torch.device("cpu"), torch.bfloat16)})


def test_factor_of_the_vae(tiny, published):
    assert vae_scale_factor(tiny.vae) == 4 and vae_scale_factor(published.vae) == 8
