"""The objectives: a picture reconstructed, a noise (or velocity) predicted."""

from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import Tensor

from ..models import Networks, predict, read_pose, read_reference

KL_WEIGHT = 5e-5


def autoencoder_loss(vae: AutoencoderKL, images: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Reconstruction (L1 + L2) plus a small KL term, mean over pixels.

    images: `[B, 3, H, W]` in [-1, 1]. weights: `[B, 1, H, W]`.
    """
    posterior = vae.encode(images).latent_dist
    error = vae.decode(posterior.sample(generator)).sample - images
    reconstruction = ((error.abs() + error.square()) * weights).mean()
    return reconstruction + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()


def diffusion_loss(
    networks: Networks,
    scheduler: DDIMScheduler,
    reference: Tensor,
    target: Tensor,
    pose: Tensor,
    context: Tensor,
    controls: Sequence[str],
    weights: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Mean squared error of the prediction for noised targets (paper equations 2 and 3).

    reference: clean latents `[R, 4, h, w]`. target: `[R * n, 4, h, w]`, n frames of each reference's person in
    a row, one timestep a person (the bank depends on it). pose: `[R * n, 3, H, W]` in [0, 1]. context:
    `[1, tokens, C]`. controls: of "appearance", "pose", those attached. weights: `[R * n, 1, h, w]`.
    """
    # One timestep from each of R equal parts of the schedule: uniform, as published, with less noise in the gradient.
    position = torch.rand(len(reference), generator=generator, device=generator.device)
    position = (position + torch.arange(len(reference), device=generator.device)) / len(reference)
    timesteps = (position * scheduler.config.num_train_timesteps).long().to(target.device)
    frame_timesteps = timesteps.repeat_interleave(len(target) // len(reference))
    noise = torch.randn(target.shape, generator=generator, device=generator.device).to(target)
    noisy = scheduler.add_noise(target, noise, frame_timesteps)
    source = read_reference(networks, reference, timesteps, context) if "appearance" in controls else None
    residuals = read_pose(networks, noisy, frame_timesteps, context, pose) if "pose" in controls else None
    prediction = predict(networks, noisy, frame_timesteps, context, source, residuals)
    if scheduler.config.prediction_type == "v_prediction":
        noise = scheduler.get_velocity(target, noise, frame_timesteps)
    return ((prediction.float() - noise).square() * weights).mean()
