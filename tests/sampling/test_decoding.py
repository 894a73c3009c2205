"""Latents to pictures, with neighbours and without: in batches, in streams, around the ends of loops."""

import pytest
import torch
from calls import with_settings

from magicdance_core.models import MotionModule
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.sampling import Control, Windows, decode_frames, vae
from magicdance_core.sampling.vae import StreamDecoder, TemporalDecoding

FRAMES = 13


@pytest.fixture(scope="module")
def pipe(make_tiny):
    pipe = MagicDancePipeline(make_tiny())
    torch.manual_seed(4)
    motion = MotionModule.for_unet(pipe.unet)
    motion.add_temporal_decoder(pipe.vae)
    for layer in motion.temporal_decoder.layers:
        torch.nn.init.normal_(layer.conv2.weight, std=0.1)
    pipe.motion = motion.eval().requires_grad_(False)
    return pipe


@pytest.fixture(scope="module")
def latents(pipe):
    return torch.randn(FRAMES, 4, 4, 4, generator=torch.Generator().manual_seed(5))


def decode(pipe, latents, batch=4, **options):
    return torch.cat(list(decode_frames(pipe.vae, latents, batch, **options)))


@pytest.mark.parametrize("closed", [False, True])
def test_batches_agree(pipe, latents, closed, monkeypatch):
    monkeypatch.setattr(vae, "VAE_PIXELS", 1)
    temporal = TemporalDecoding(pipe.motion.temporal_decoder, closed=closed)
    whole = decode(pipe, latents, FRAMES, temporal=temporal)
    assert whole.shape == (FRAMES, 3, 16, 16)
    assert torch.allclose(decode(pipe, latents, 1, temporal=temporal), whole, atol=1e-6)
    assert not torch.allclose(decode(pipe, latents), whole, atol=1e-3)
    some = decode(pipe, latents, 2, temporal=temporal, frames=range(3, 11))
    assert torch.allclose(some, whole[3:11], atol=1e-6)


def test_small_pictures_go_together_and_large_ones_as_asked(pipe):
    temporal = TemporalDecoding(pipe.motion.temporal_decoder)
    assert temporal.reach == 4
    assert temporal.chunk_size(4, 512 * 512) == 4 and temporal.chunk_size(4, 128 * 128) == 64 - 8
    assert TemporalDecoding().chunk_size(4, 128 * 128) == 4


def test_a_closed_loop_has_no_ends(pipe, latents):
    decoder = pipe.motion.temporal_decoder
    for closed in (True, False):
        made = decode(pipe, latents, temporal=TemporalDecoding(decoder, closed=closed))
        turned = decode(pipe, latents.roll(5, 0), temporal=TemporalDecoding(decoder, closed=closed))
        assert torch.allclose(made.roll(5, 0), turned, atol=1e-6) == closed


@pytest.mark.parametrize("closed", [False, True])
def test_frames_wait_for_their_neighbours(pipe, latents, closed):
    temporal = TemporalDecoding(pipe.motion.temporal_decoder, closed=closed)
    whole, made, decoder = decode(pipe, latents, temporal=temporal), [], StreamDecoder(FRAMES, temporal)
    order = [1, 0, 3, 2, *range(4, FRAMES)]
    for number in order:
        decoder.add([(number, latents[number][None])])
        ready, pictures = decoder.decode(pipe.vae, 4)
        assert closed or len(decoder.state().get("clean", ())) <= 2 * temporal.reach + 1
        if ready:
            assert torch.allclose(pictures, whole[list(ready)], atol=1e-6)
            made += ready
    assert made == list(range(FRAMES))


@pytest.fixture(scope="module")
def pictures():
    draw = torch.Generator().manual_seed(3)
    return torch.rand(1, 3, 16, 16, generator=draw), torch.rand(FRAMES, 3, 16, 16, generator=draw)


def settings(**changes):
    generator = torch.Generator().manual_seed(9)
    return with_settings(**{"windows": Windows(6, 2), "num_inference_steps": 2, "generator": generator} | changes)


@pytest.mark.parametrize("windows", [Windows(6, 2), Windows(6, 2, strides=(1, 2)), Windows(6, 2, closed=True)])
def test_a_stream_has_the_frames_of_a_call_and_goes_on_to_the_same(pipe, pictures, windows):
    whole = pipe(*pictures, output_type="pt", **settings(windows=windows)).frames
    made, states = [], []
    for chunk in pipe.stream(pictures[0], iter(pictures[1]), FRAMES, **settings(windows=windows)):
        assert chunk.frames[0] == len(made)
        made += chunk.pictures
        states.append((len(made), chunk.state()))
    assert torch.allclose(torch.stack(made), whole, atol=1e-5)
    for done, state in states[:-1]:
        rest = pipe.stream(pictures[0], iter(pictures[1]), FRAMES, state=state, **settings(windows=windows))
        assert torch.equal(torch.cat([chunk.pictures for chunk in rest]), torch.stack(made[done:]))


def test_it_acts_with_the_module(pipe, pictures):
    def frames(pipe=pipe, count=FRAMES, **changes):
        return pipe(pictures[0], pictures[1][:count], output_type="pt", **settings(**changes)).frames

    def plainly(**changes):
        clean = pipe(*pictures, output_type="latent", **settings(**changes)).frames
        return decode(pipe, clean)

    assert not torch.allclose(frames(), plainly(), atol=1e-3)
    assert torch.equal(frames(motion_control=Control(0.0)), plainly(motion_control=Control(0.0)))
    one = pipe(pictures[0], pictures[1][:1], output_type="latent", **settings()).frames
    assert torch.equal(frames(count=1), decode(pipe, one))
