"""The noise schedule that a file names: a scheduler of diffusers that suits, with values that make sense."""

import diffusers
from diffusers import SchedulerMixin

from ..errors import InputError
from .configuration import SchedulerConfig, checked

SUITABLE = (
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    "PNDMScheduler", "UniPCMultistepScheduler",
)  # fmt: skip
"""Those that ask for one prediction a timestep and take nothing that the denoising loop does not give."""


def scheduler_from_config(config: object, where: str) -> SchedulerMixin:
    """The scheduler that a saved configuration describes.

    where: names the place in messages. Raises InputError for one that does not suit, and for wrong values.
    """
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in SUITABLE:
        raise InputError(
            f"{where}: {str(name)[:60]!r} is no scheduler that suits: save the model with one of {', '.join(SUITABLE)}."
        )
    kind = getattr(diffusers, name)
    values = checked(SchedulerConfig, config, where, kind)
    try:
        scheduler = kind(**values)
    except (ImportError, NotImplementedError, ValueError) as error:  # of values that do not go together
        raise InputError(f"{where}: {' '.join(str(error).split())} Save the model with other settings.") from error
    if not (scheduler.alphas_cumprod[:-1] > 0).all():
        raise InputError(f"{where}: this schedule loses all signal before its end: lower beta_end.")
    return scheduler


def prediction_type(config: object, where: str) -> str:
    """What the network of a saved scheduler predicts: "epsilon", "v_prediction" or "sample"."""
    given = config.get("prediction_type") if isinstance(config, dict) else None
    return checked(SchedulerConfig, {} if given is None else {"prediction_type": given}, where).get(
        "prediction_type", "epsilon"
    )
