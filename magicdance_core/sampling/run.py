"""One run: the reference is encoded, the frames are denoised, then decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, SchedulerMixin
from torch import Tensor

from ..models import Networks
from .denoise import denoise
from .latents import decode_frames, encode_images, encode_poses

Place = tuple[torch.device, torch.dtype]
"""Where and in which dtype a network computes, wherever its weights happen to be."""


@dataclass(frozen=True)
class Phase:
    """What a run is about to do.

    roles: the networks that it needs together: "vae", or names of `Networks`. batch: pictures or latents that
    they take at once, the reference's included. height, width: of each, in pixels for the VAE, else in latents'.
    """

    roles: tuple[str, ...]
    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class Sample:
    """latents: clean and scaled, `[F, 4, h, w]`, float32, where the UNet computes. frames: in [0, 1], float32, on the
    CPU, `[n, 3, H, W]` at a time, each part decoded when it is asked for."""

    latents: Tensor
    frames: Iterator[Tensor]


def run(
    networks: Networks,
    vae: AutoencoderKL,
    scheduler: SchedulerMixin,
    reference: Tensor,
    pose_maps: Tensor,
    noise: Tensor,
    context: Tensor,
    *,
    frames_per_batch: int = 8,
    decode_batch: int = 4,
    place: Place | None = None,
    vae_place: Place | None = None,
    before: Callable[[Phase], None] = lambda phase: None,
    **options,
) -> Sample:
    """Make one frame a pose map, of the person in the reference.

    reference: `[R, 3, H', W']` in [0, 1], not encoded without an Appearance Control Model. pose_maps: `[F, 3, H, W]`
    in [0, 1], not encoded without a Pose ControlNet. noise, context, options: see `denoise`.
    frames_per_batch, decode_batch: frames that the networks and the VAE take at once.
    place, vae_place: of `networks` and of the VAE; by default where the UNet's and the VAE's weights are.
    before: called before each phase, so that its networks can be brought to their place.
    """
    place, vae_place = place or (networks.unet.device, networks.unet.dtype), vae_place or (vae.device, vae.dtype)
    count, batch, clean, hints = len(pose_maps), min(frames_per_batch, len(pose_maps)), None, None
    if networks.appearance is not None:
        before(Phase(("vae",), len(reference), *reference.shape[-2:]))
        clean = encode_images(vae, reference, *vae_place)
    before(Phase(networks.roles(), batch + (0 if clean is None else len(clean)), *noise.shape[-2:]))
    if networks.pose is not None:
        hints = encode_poses(networks.pose, pose_maps, batch, *place)
    latents = denoise(
        networks,
        scheduler,
        noise.to(place[0]),
        context.to(*place),
        reference=clean,
        hints=hints,
        frames=count,
        frames_per_batch=batch,
        **options,
    )

    def frames() -> Iterator[Tensor]:
        at_once = min(decode_batch, count)
        before(Phase(("vae",), at_once, *pose_maps.shape[-2:]))
        yield from decode_frames(vae, latents, at_once, *vae_place)

    return Sample(latents, frames())
