"""Our networks and sampling against the published code's answers on small random weights."""

import pytest
import torch

from magicdance_core import MagicDancePipeline
from magicdance_core.checkpoints import load_published
from magicdance_core.models import Networks, predict, read_reference
from magicdance_core.sampling import decode_frames, encode_images, encode_poses

TIMESTEP = 601
ONE_CALL, A_RUN = 1e-5, 1e-4


@pytest.fixture(scope="module", params=[".th", ".safetensors"])
def published(request, published_files):
    return load_published(published_files[request.param])


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def networks(published):
    return Networks(published.unet, published.appearance, published.pose)


def test_text(published, expected, relative_error):
    assert relative_error(published.context, expected["text"]) < ONE_CALL


def test_vae(published, expected, relative_error):
    latent = encode_images(published.vae, expected["reference"] / 2 + 0.5)
    assert relative_error(latent, expected["reference_latent"]) < ONE_CALL
    decoded = published.vae.decode(expected["reference_latent"] / 0.18215).sample
    assert relative_error(decoded, expected["decoded"]) < ONE_CALL
    (frame,) = decode_frames(published.vae, expected["reference_latent"])
    assert relative_error(frame, (expected["decoded"] / 2 + 0.5).clamp(0, 1)) < ONE_CALL


def test_bank(published, expected, relative_error):
    bank = published.appearance(expected["reference_latent"], TIMESTEP, expected["text"])
    assert len(bank) == 16
    for index, tokens in enumerate(bank.values()):
        assert relative_error(tokens, expected[f"bank.{index:02d}"]) < ONE_CALL


def test_residuals(published, expected, relative_error):
    hints = encode_poses(published.pose, expected["pose"][:1])
    residuals = published.pose(expected["noise"], TIMESTEP, expected["text"], hints)
    assert len(residuals.down) == 12
    for index, residual in enumerate((*residuals.down, residuals.mid)):
        assert relative_error(residual, expected[f"residual.{index:02d}"]) < ONE_CALL


def test_predictions(networks, expected, relative_error):
    noise, text = expected["noise"], expected["text"]
    source = read_reference(networks, expected["reference_latent"], TIMESTEP, text)
    residuals = networks.pose(noise, TIMESTEP, text, expected["pose"][:1])
    cond = predict(networks, noise, TIMESTEP, text, source, residuals)
    assert relative_error(cond, expected["eps_cond"]) < ONE_CALL
    assert relative_error(predict(networks, noise, TIMESTEP, text), expected["eps_uncond"]) < ONE_CALL


def test_samples(published, expected, relative_error):
    pipe = MagicDancePipeline(published)
    reference = expected["reference"] / 2 + 0.5
    shared = {"num_inference_steps": 5, "guidance_scale": 7.0, "latents": expected["noise"], "output_type": "latent"}
    samples = pipe(reference, expected["pose"], **shared).frames
    assert relative_error(samples, expected["samples"]) < A_RUN
    balance = pipe(reference, expected["pose"][:1], control_mode="balance", **shared).frames
    assert relative_error(balance, expected["samples_balance"]) < A_RUN
