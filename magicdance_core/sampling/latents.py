"""Pictures to latents and hints, a batch at a time."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..models import PoseControlNet

VAE_PIXELS = 1024 * 1024
"""Pixels that the VAE takes at once on any device."""


def get_noise(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise, float32, on the CPU: the same for a seed on every machine.

    shape: `(1, 4, h, w)` for one noise that all frames start from, the published way, or `(F, 4, h, w)`.
    generator: on the CPU for that promise; one on another device draws there.
    """
    device = generator.device if generator is not None else "cpu"
    return torch.randn(shape, generator=generator, device=device).cpu()


@torch.no_grad()
def encode_images(
    vae: AutoencoderKL, images: Tensor, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Images `[N, 3, H, W]` in [0, 1] to scaled latents `[N, 4, h, w]`, float32, where the VAE computes.

    The posterior's mode, so that no random number is involved; the published code draws a sample of it.
    device, dtype: where the network computes; by default where its weights are.
    """
    images = images.to(device or vae.device, dtype or vae.dtype) * 2 - 1
    return vae.encode(images).latent_dist.mode().float() * vae.config.scaling_factor


@torch.no_grad()
def encode_poses(
    pose_net: PoseControlNet,
    maps: Tensor,
    batch: int = 8,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Pose maps `[F, 3, H, W]`, RGB in [0, 1], to hints `[F, C, h, w]`, which hold for every step.

    device, dtype: where the network computes and the hints are; by default where its weights are.
    """
    device, dtype = device or pose_net.device, dtype or pose_net.dtype
    return torch.cat([pose_net.encode_pose(part.to(device, dtype)) for part in maps.split(batch)])
