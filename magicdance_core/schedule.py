"""Noise schedulers: the published one, those that can be chosen by name, and their formulas."""

import diffusers
from diffusers import DDIMScheduler, SchedulerMixin
from torch import Tensor

from .choices import DEFAULT, SCHEDULERS


def published_scheduler(prediction_type: str = "epsilon") -> DDIMScheduler:
    """Return DDIM (Song et al., arXiv 2010.02502) as published: offset 1, last alpha the schedule's first, no clipping.

    It takes exactly the number of steps asked for. The published code takes more where that number does not
    divide 1000 (31 for 30, 8 for 7) and the same where it does.
    prediction_type: "epsilon" (published) or "v_prediction".
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction_type,
    )


def with_beta_schedule(scheduler: SchedulerMixin, beta_schedule: str) -> SchedulerMixin:
    """Return the scheduler with another beta schedule: "scaled_linear" as MagicDance was trained, or "linear" as
    AnimateDiff's motion modules were, which leaves less signal at the first step."""
    return type(scheduler).from_config(scheduler.config, beta_schedule=beta_schedule)


def named_scheduler(name: str, model_scheduler: SchedulerMixin, beta_schedule: str = DEFAULT) -> SchedulerMixin:
    """Return a new scheduler of a name in `choices.SCHEDULERS`, with the prediction type and noise of the model's.

    model_scheduler: the model's, for "default". beta_schedule: see `with_beta_schedule`; by default the model's.
    """
    betas = {} if beta_schedule == DEFAULT else {"beta_schedule": beta_schedule}
    if SCHEDULERS[name] is None:
        return type(model_scheduler).from_config(model_scheduler.config, **betas)
    kind, changes = SCHEDULERS[name]
    return getattr(diffusers, kind).from_config(model_scheduler.config, **changes, **betas)


def predict_x0(scheduler: SchedulerMixin, inputs: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor | None:
    """Return the clean latents that a prediction implies; None if the scheduler has no alphas.

    inputs: noisy latents as the networks see them (after `scale_model_input`), prediction: of the same shape.
    """
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return None
    signal = float(alphas[round(float(timestep))]) ** 0.5
    noise = (1 - signal**2) ** 0.5
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return signal * inputs - noise * prediction
    return prediction if kind == "sample" else (inputs - noise * prediction) / signal
