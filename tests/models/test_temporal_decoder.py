import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule, TemporalDecoder, apply_temporal_decoder, check_motion_fits

FRAMES, CLIPS = 7, 2


@pytest.fixture(scope="module")
def model(make_tiny):
    return make_tiny()


@pytest.fixture(scope="module")
def decoder(model):
    torch.manual_seed(1)
    made = TemporalDecoder(model.vae.config.block_out_channels, model.vae.config.norm_num_groups)
    for layer in made.layers:
        torch.nn.init.normal_(layer.conv2.weight, std=0.1)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def latents(model):
    draw = torch.Generator().manual_seed(2)
    return torch.randn(CLIPS * FRAMES, model.vae.config.latent_channels, 4, 4, generator=draw)


@pytest.fixture(scope="module")
def decode(model, latents):
    @torch.no_grad()
    def run(decoder=None, scale=1.0, latents=latents, frames=FRAMES):
        with apply_temporal_decoder(model.vae, decoder, frames, scale):
            return model.vae.decode(latents).sample

    return run


def test_vae_is_unchanged_without_a_clip(model, decoder, decode):
    plain = decode()
    assert not torch.allclose(decode(decoder), plain, atol=1e-3)
    assert torch.equal(decode(), plain) and torch.equal(decode(decoder, scale=0), plain)
    assert torch.equal(decode(TemporalDecoder(model.vae.config.block_out_channels, 4)), plain)  # not trained yet
    with pytest.raises(RuntimeError, match="on the way"), apply_temporal_decoder(model.vae, decoder, FRAMES):
        raise RuntimeError("on the way")
    assert torch.equal(decode(), plain)


def test_layer_equals_a_convolution_over_time(decoder):
    """The same in float64, by a convolution with three frames whose ends are repeated."""
    layer = decoder.layers[0].double()
    hidden = torch.randn(CLIPS * FRAMES, 8, 5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    clips = rearrange(F.silu(layer.norm1(hidden)), "(b f) c h w -> b c f h w", b=CLIPS)
    clips = F.pad(clips, (1, 1, 1, 1, 0, 0))
    clips = torch.cat([clips[:, :, :1], clips, clips[:, :, -1:]], 2)
    kernel = rearrange(layer.conv1.weight, "out (t c) h w -> out c t h w", t=3)
    mixed = rearrange(F.conv3d(clips, kernel, layer.conv1.bias), "b c f h w -> (b f) c h w")
    wanted = layer.conv2(F.silu(layer.norm2(mixed)))
    assert torch.allclose(layer(hidden, FRAMES), wanted, atol=1e-12)
    assert torch.allclose(decoder.mix(layer, hidden, FRAMES, 0.3), hidden + 0.3 * wanted, atol=1e-12)
    layer.float()


def test_frames_depend_only_on_neighbours_in_their_clip(decoder, decode, latents):
    assert decoder.reach == 4
    changed = latents.clone()
    changed[1] += 1
    differs = (decode(decoder, latents=changed) != decode(decoder)).flatten(1).any(1)
    assert differs.tolist() == [True] * 6 + [False] * 8


def test_gradients_flow_through_a_frozen_decoder(model, latents):
    """Backward of group norms has crashed with channels-last features, which the middle block's attention returns."""
    decoder = TemporalDecoder(model.vae.config.block_out_channels, 4)
    model.vae.requires_grad_(False)
    for precise in (True, False):
        with (
            apply_temporal_decoder(model.vae, decoder, FRAMES),
            torch.autocast("cpu", torch.bfloat16, enabled=not precise),
        ):
            model.vae.decode(latents).sample.float().square().mean().backward()
    assert all(layer.conv2.weight.grad.abs().max() > 0 for layer in decoder.layers)


def test_layers_are_saved_with_the_motion_module(model):
    motion = MotionModule.for_unet(model.unet)
    assert motion.temporal_decoder is None
    motion.add_temporal_decoder(model.vae)
    again = MotionModule.from_config(motion.config)
    assert again.state_dict().keys() == motion.state_dict().keys()
    check_motion_fits(model.unet, model.vae, motion)
    motion.register_to_config(decoder_block_out_channels=[8, 16])
    with pytest.raises(InputError, match=r"VAE of the widths \[8, 16\] and the VAE has \[8, 8, 8\]"):
        check_motion_fits(model.unet, model.vae, motion)
