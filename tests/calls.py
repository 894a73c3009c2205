"""Calls of sampling with plain keyword arguments."""

from dataclasses import fields

import torch

from magicdance_core import sampling
from magicdance_core.sampling import DenoisingInputs, EncodedReference, Hints, SamplingSettings, noise_from_latents
from magicdance_core.sampling.denoise import Denoiser, resolve_windows
from magicdance_core.sampling.order import in_frame_order

NAMES = {field.name for field in fields(SamplingSettings)}


def with_settings(**options) -> dict:
    """Return the options with those that are fields of `SamplingSettings` gathered as `settings`."""
    chosen = {name: value for name, value in options.items() if name in NAMES}
    return {name: value for name, value in options.items() if name not in NAMES} | {
        "settings": SamplingSettings(**chosen)
    }


def denoise(
    networks, scheduler, context, noise, hints=None, frames=None, reference=None, uncond_context=None, generator=None,
    callback=None, order=None, **options,
):  # fmt: skip
    """Call `denoise` with its inputs as tensors; order: in place of its own."""
    if frames is None:
        frames = len(hints) if isinstance(hints, torch.Tensor) else len(noise) if isinstance(noise, torch.Tensor) else 1
    inputs = DenoisingInputs(
        noise_from_latents(noise, generator) if isinstance(noise, torch.Tensor) else noise,
        frames,
        context,
        uncond_context,
        EncodedReference(reference) if isinstance(reference, torch.Tensor) else reference,
        Hints.from_encoded(hints, context) if isinstance(hints, torch.Tensor) else hints,
    )
    (settings,) = with_settings(**options).values()
    if order is None:
        return sampling.denoise(networks, scheduler, settings, inputs, callback)
    denoiser = Denoiser(networks, scheduler, settings, inputs, callback)
    return torch.cat(list(in_frame_order(denoiser.run(resolve_windows(networks, frames, settings), order))))
