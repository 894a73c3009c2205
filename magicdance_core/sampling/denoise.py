"""The denoising loop: steps outside, frames inside."""

import inspect
from collections.abc import Callable

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..choices import CONTROL_MODES
from ..errors import InputError
from ..models import Networks, ReferenceReader
from ..schedule import predict_x0
from .guidance import GuidanceBranch, guide, predict_branch
from .settings import FULL, Control, Progress


@torch.no_grad()
def denoise(
    networks: Networks,
    scheduler: SchedulerMixin,
    noise: Tensor,
    context: Tensor,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    reference: Tensor | None = None,
    hints: Tensor | None = None,
    frames: int | None = None,
    uncond_context: Tensor | None = None,
    control_mode: str = "controlnet_important",
    appearance: Control = FULL,
    pose: Control = FULL,
    frames_per_batch: int = 8,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    callback: Callable[[Progress], None] | None = None,
) -> Tensor:
    """Denoise F frames; returns clean scaled latents `[F, 4, h, w]`, float32, on the device of `noise`.

    noise: `[1, 4, h, w]`, from which all frames start, or `[F, 4, h, w]`; standard normal, float32.
    context: text `[1, n, C]`. Its dtype and the device of `noise` are where the networks compute; guidance and
    schedule compute in float32.
    num_inference_steps: taken exactly; the published code takes more where it does not divide 1000.
    guidance_scale: 1 runs no second branch.
    reference: clean scaled latents `[R, 4, h', w']` of R pictures of one person, any size; None for no control.
    hints: encoded poses `[F, C, h, w]` (`encode_poses`) on any device, moved a batch at a time; None likewise.
    frames: F, where there are no hints; by default the rows of `noise`.
    uncond_context: text of the branch that guidance leads away from; by default `context`.
    control_mode: "controlnet_important" contrasts the controls with the plain UNet; "balance" has the controls
    in both branches, so only texts are contrasted, and equal texts cost one branch.
    appearance, pose: strength and range of each control.
    eta, generator: handed to schedulers that take them; noise added on the way differs between frames.
    callback: called after each batch of frames. What it raises ends the run and comes out unchanged; the next
    run starts afresh.

    The reference is read once a step for all frames. Where all frames start from one noise, the unconditional
    branch of the first step is computed once. Raises InputError for an unknown mode and for noise that does not
    fit the number of frames.
    """
    if control_mode not in CONTROL_MODES:
        raise InputError(f"The control mode {control_mode!r} is unknown: use {' or '.join(CONTROL_MODES)}.")
    frames = len(hints) if hints is not None else frames or len(noise)
    if len(noise) not in (1, frames):
        raise InputError(f"There are {len(noise)} noises for {frames} frames: give one for all or one for each.")
    device, dtype = noise.device, context.dtype
    uncond_context = context if uncond_context is None else uncond_context.to(context)
    if uncond_context is not context and torch.equal(uncond_context, context):
        uncond_context = context  # the same object tells that nothing is contrasted
    reader = None
    if networks.appearance is not None and reference is not None:
        reader = ReferenceReader(networks.appearance, reference.to(device, dtype), len(reference))
    pose_control = pose if networks.pose is not None and hints is not None else Control(0.0)

    scheduler.set_timesteps(num_inference_steps)  # on the CPU, where looking up a table waits for no device
    options = _options_of_step(scheduler, eta=eta, generator=generator)
    steps = len(scheduler.timesteps)
    latents = (noise * scheduler.init_noise_sigma).expand(frames, -1, -1, -1)

    def controlled(text: Tensor, t: Tensor, step: int) -> GuidanceBranch:
        source = reader.source(networks.unet, t, text, appearance.at(step, steps)) if reader else None
        return GuidanceBranch(text, source, pose_control.at(step, steps))

    for step, timestep in enumerate(scheduler.timesteps):
        t = timestep.to(device)
        cond = controlled(context, t, step)
        if guidance_scale == 1:
            uncond = cond
        elif control_mode == "balance":
            uncond = cond if uncond_context is context else controlled(uncond_context, t, step)
        else:
            uncond = GuidanceBranch(uncond_context)

        inputs = scheduler.scale_model_input(latents, timestep)
        alike = step == 0 and len(noise) == 1 and not uncond.pose_strength
        predictions: list[Tensor] = []
        for start in range(0, frames, frames_per_batch):
            batch = slice(start, start + frames_per_batch)
            x = inputs[batch].to(dtype)
            hint = None if hints is None else hints[batch].to(device, dtype)
            prediction = predict_branch(networks, cond, x, t, hint)
            if not cond.equals(uncond):
                if not (alike and start):
                    away = predict_branch(networks, uncond, x[:1] if alike else x, t, hint)
                prediction = guide(prediction, away, guidance_scale)
            predictions.append(prediction)
            if callback is not None:
                denoised = predict_x0(scheduler, inputs[batch], prediction, timestep)
                callback(Progress(step, steps, min(start + frames_per_batch, frames), frames, denoised))
        latents = scheduler.step(torch.cat(predictions), timestep, latents, **options).prev_sample
    return latents


def _options_of_step(scheduler: SchedulerMixin, **options) -> dict:
    known = inspect.signature(scheduler.step).parameters
    return {name: value for name, value in options.items() if name in known}
