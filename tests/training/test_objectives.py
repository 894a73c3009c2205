"""The objective against a straightforward implementation of the published one, and its additions."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel

from magicdance_core.models import Networks
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.config import StageConfig
from magicdance_core.training.losses import autoencoder_loss, diffusion_loss
from magicdance_core.training.low_rank import add_low_rank, merge_low_rank


@pytest.fixture(scope="module")
def step(published, expected):
    """Networks of the parity data, of which appearance and pose learn, and a batch of one reference and two targets."""
    unet, appearance, pose = (copy.deepcopy(getattr(published, n)).double() for n in ("unet", "appearance", "pose"))
    unet.requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    shape = expected["reference_latent"].shape[1:]
    batch = {
        "reference": expected["reference_latent"].double(),
        "target": torch.randn(2, *shape, generator=random, dtype=torch.float64),
        "pose": expected["pose"][:2].double(),
        "context": expected["text"].double(),
        "timesteps": torch.tensor([601]),
        "noise": torch.randn(2, *shape, generator=random, dtype=torch.float64),
    }
    return Networks(unet, appearance, pose), batch


@pytest.fixture
def small_step(tiny):
    """The same with networks of a few thousand weights, for tests that do not depend on the architecture."""
    unet, appearance, pose = (getattr(tiny, name).double() for name in ("unet", "appearance", "pose"))
    random = torch.Generator().manual_seed(0)
    shapes = {"reference": (1, 4, 8, 8), "target": (2, 4, 8, 8), "pose": (2, 3, 32, 32), "noise": (2, 4, 8, 8)}
    batch = {name: torch.randn(shape, generator=random, dtype=torch.float64) for name, shape in shapes.items()}
    batch |= {"context": tiny.context.double(), "timesteps": torch.tensor([601])}
    return Networks(unet, appearance, pose), batch


class Reads:
    """Self-attention over a frame's and recorded tokens, as in the paper; cross-attention over the text."""

    def __init__(self, bank, name):
        self.bank, self.name = bank, name

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is None and self.bank is not None:
            seen = torch.cat([hidden_states, self.bank[self.name].expand(len(hidden_states), -1, -1)], 1)
        seen = seen.expand(len(hidden_states), -1, -1)
        query, key, value = (
            layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for layer, x in ((attn.to_q, hidden_states), (attn.to_k, seen), (attn.to_v, seen))
        )
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
        return attn.to_out[0]((weights @ value).transpose(1, 2).flatten(2))


def plain(kind, network, bank=None):
    """The network of diffusers with these weights and an explicit attention."""
    made = kind.from_config(dict(network.config)).double()
    missing, unknown = made.load_state_dict(network.state_dict(), strict=False)
    assert not unknown
    for name, block in made.named_modules():
        if hasattr(block, "attn1"):
            block.attn1.set_processor(Reads(bank, name))
            block.attn2.set_processor(Reads(None, name))
    return made


def test_loss_and_gradients_equal_the_published_ones(step, relative_error):
    networks, batch = step
    bank = {}
    appearance = plain(UNet2DConditionModel, networks.appearance)
    for name, block in appearance.named_modules():
        if hasattr(block, "attn1"):
            block.norm1.register_forward_hook(lambda _, __, out, name=name: bank.__setitem__(name, out))
    pose, unet = plain(ControlNetModel, networks.pose), plain(UNet2DConditionModel, networks.unet, bank)
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)[601]
    noisy = signal**0.5 * batch["target"] + (1 - signal) ** 0.5 * batch["noise"]
    text, t = batch["context"].expand(2, -1, -1), torch.tensor([601, 601])
    appearance(batch["reference"], t[:1], text[:1])
    down, middle = pose(noisy, t, text, batch["pose"], return_dict=False)
    made = unet(noisy, t, text, down_block_additional_residuals=down, mid_block_additional_residual=middle).sample
    wanted = (made - batch["noise"]).square().mean()
    wanted.backward()

    for network in (networks.appearance, networks.pose):
        network.requires_grad_(True).zero_grad()
    loss = diffusion_loss(networks, published_scheduler(), **batch).mean()
    loss.backward()
    assert relative_error(loss.detach(), wanted.detach()) < 1e-6
    for ours, theirs in ((networks.appearance, appearance), (networks.pose, pose)):
        theirs = dict(theirs.named_parameters())
        grads = {name: (parameter.grad, theirs[name].grad) for name, parameter in ours.named_parameters()}
        whole = torch.cat([wanted.flatten() for _, wanted in grads.values()]).norm()
        for name, (grad, wanted) in grads.items():  # some are nothing but rounding, as of a bias before a norm
            assert (grad - wanted).norm() < 1e-5 * max(wanted.norm(), 1e-3 * whole), name


def gradients(networks, batch, **options):
    for network in (networks.appearance, networks.pose):
        network.requires_grad_(True).zero_grad()
    losses = diffusion_loss(networks, published_scheduler(), **batch, **options)
    losses.mean().backward()
    return losses.detach(), [
        p.grad.clone() for n in (networks.appearance, networks.pose) for p in n.parameters() if p.grad is not None
    ]


def test_checkpointing_changes_no_gradient(small_step):
    networks, batch = small_step
    losses, plainly = gradients(networks, batch)
    for network in (networks.unet, networks.appearance, networks.pose):
        network.enable_gradient_checkpointing()
    again, recomputed = gradients(networks, batch)
    assert torch.equal(losses, again) and len(plainly) == len(recomputed) > 200
    assert all(torch.equal(one, two) for one, two in zip(plainly, recomputed))


def test_dropped_controls_have_no_influence(small_step):
    networks, batch = small_step
    two = {k: v.repeat(2, *[1] * (v.dim() - 1)) if k not in ("context",) else v for k, v in batch.items()}
    two["timesteps"] = torch.tensor([601, 301])
    with torch.no_grad():
        dropped = diffusion_loss(
            networks, published_scheduler(), **two,
            keep_reference=torch.tensor([True, False]), keep_pose=torch.tensor([False, True]),
        )  # fmt: skip
        first = {k: v[: len(v) // 2] if k != "context" else v for k, v in two.items()}
        second = {k: v[len(v) // 2 :] if k != "context" else v for k, v in two.items()}
        no_pose = diffusion_loss(dataclasses.replace(networks, pose=None), published_scheduler(), **first)
        no_reference = diffusion_loss(dataclasses.replace(networks, appearance=None), published_scheduler(), **second)
        assert torch.allclose(dropped, torch.cat([no_pose, no_reference]), rtol=1e-5)


def test_loss_weights_of_regions_and_timesteps(small_step):
    networks, batch = small_step
    with torch.no_grad():
        losses = diffusion_loss(networks, published_scheduler(), **batch)
        twice = torch.full_like(batch["target"][:, :1], 2)
        assert torch.allclose(diffusion_loss(networks, published_scheduler(), **batch, weights=twice), 2 * losses)
        signal = published_scheduler().alphas_cumprod[601]
        snr = signal / (1 - signal)
        few = diffusion_loss(networks, published_scheduler(), **batch, min_snr=float(snr) / 4)
        assert torch.allclose(few, losses / 4)
        assert torch.allclose(diffusion_loss(networks, published_scheduler(), **batch, min_snr=1e9), losses)
        velocity = published_scheduler("v_prediction")
        losses = diffusion_loss(networks, velocity, **batch)
        few = diffusion_loss(networks, velocity, **batch, min_snr=float(snr) / 4)
        assert torch.allclose(few, losses * float(snr / 4 / (snr + 1)))


def test_low_rank_matrices_start_without_effect_and_merge(small_step):
    networks, batch = small_step
    stage = StageConfig("pose", ["appearance"], 1, ["appearance"], rank=2)
    appearance = copy.deepcopy(networks.appearance)
    names = list(appearance.state_dict())
    with torch.no_grad():
        before = diffusion_loss(networks, published_scheduler(), **batch)
        add_low_rank(appearance, stage, seed=0)
        changed = dataclasses.replace(networks, appearance=appearance)
        assert torch.allclose(diffusion_loss(changed, published_scheduler(), **batch), before, rtol=1e-9)
        learning = {n: p for n, p in appearance.named_parameters() if p.requires_grad}
        assert learning and all(n.rsplit(".", 1)[1] in ("up", "down") for n in learning)
        for parameter in learning.values():
            parameter.add_(0.5)
        after = diffusion_loss(changed, published_scheduler(), **batch)
        assert not torch.allclose(after, before, rtol=1e-6)
        merge_low_rank(appearance, stage)
        assert sorted(appearance.state_dict()) == sorted(names)
        assert torch.allclose(diffusion_loss(changed, published_scheduler(), **batch), after, rtol=1e-9)


def test_autoencoder_loss(tiny):
    random = torch.Generator().manual_seed(0)
    images, weights = torch.rand(2, 3, 16, 16, generator=random) * 2 - 1, torch.ones(2, 1, 16, 16)
    noise = torch.randn(2, 4, 4, 4, generator=random)
    with torch.no_grad():
        losses = autoencoder_loss(tiny.vae, images, weights, noise)
        latent = tiny.vae.encode(images).latent_dist
        error = tiny.vae.decode(latent.mean + latent.std * noise).sample - images
        kl = 0.5 * (latent.mean**2 + latent.var - 1 - latent.logvar).sum((1, 2, 3)) / 64
        assert torch.allclose(losses, (error.abs() + error**2).mean((1, 2, 3)) + 5e-5 * kl)
