"""The parts of a model: its networks, scheduler and defaults."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL, ModelMixin, SchedulerMixin, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from ..errors import InputError
from ..models import AppearanceControlModel, MotionModule, PoseControlNet, vae_scale_factor
from .configuration import Defaults, SchedulerConfig, checked
from .roles import ROLES
from .tensors import Tensors

EMBEDDED = Path(__file__).parents[1] / "assets" / "embedded"
"""Folder of the small model that is part of this package."""
EMBEDDED_MOTION = EMBEDDED.parent / "embedded_motion.safetensors"
"""Motion module trained for the embedded model; only used on request."""
EMBEDDED_FACES = "embedded_faces"
"""Folder, beside the embedded model, of the LoRAs with which it makes close-ups in its face pass."""
PUBLISHED_DEFAULTS = asdict(Defaults())
SHARED_KEYS = ("block_out_channels", "cross_attention_dim", "down_block_types", "in_channels", "layers_per_block")
MAX_TOKENS = 4096


@dataclass
class Components:
    """A whole model; its networks are fields named as in `ROLES`.

    unet: has `SourceAttention` processors. appearance, pose, motion: None if the model has no such network.
    text_encoder: None if the model has no text encoder. context: embedding of the empty prompt, `[1, n, C]` float32 on
    the CPU. defaults: recommended `num_inference_steps`, `guidance_scale` and `sample_size` (pixels).
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: SchedulerMixin
    context: Tensor
    appearance: AppearanceControlModel | None = None
    pose: PoseControlNet | None = None
    motion: MotionModule | None = None
    text_encoder: CLIPTextModel | None = None
    defaults: dict = field(default_factory=PUBLISHED_DEFAULTS.copy)

    def networks(self) -> dict[str, ModelMixin]:
        """Return the networks that are not None, by role."""
        return {name: network for name in ROLES if (network := getattr(self, name)) is not None}

    def check(self, where: str) -> "Components":
        """Return self if the networks fit one another, else raise InputError. where: the file, in messages."""
        unet, vae = self.unet.config, self.vae.config
        if not unet.in_channels == unet.out_channels == vae.latent_channels:
            raise InputError(
                f"{where}: the UNet takes {unet.in_channels} channels and gives {unet.out_channels}, the VAE has "
                f"{vae.latent_channels}: give a model made from Stable Diffusion 1.5."
            )
        if self.context.shape[-1] != unet.cross_attention_dim:
            raise InputError(
                f"{where}: the text embedding has {self.context.shape[-1]} channels and the UNet takes "
                f"{unet.cross_attention_dim}: take text encoder and UNet from one model."
            )
        for name, control in (("appearance", self.appearance), ("pose", self.pose)):
            if control is not None and not control_fits(control, self.unet, self.vae):
                raise InputError(
                    f"{where}: the {ROLES[name].title} was made for another UNet: "
                    "take all networks from one family of models."
                )
        return self


def control_fits(control: ModelMixin, unet: ModelMixin, vae: ModelMixin) -> bool:
    """Return whether a control has the widths and depths of a UNet and the scale factor of a VAE."""
    factor = getattr(control, "pose_scale_factor", None)
    alike = all(_comparable(control.config[key]) == _comparable(unet.config[key]) for key in SHARED_KEYS)
    return alike and factor in (None, vae_scale_factor(vae))


def read_context(file: Tensors, name: str) -> Tensor:
    """Read the embedding of the empty prompt, `[1, n, C]` float32. Raises InputError if the file has none."""
    shape = file.shapes.get(name, ())
    if len(shape) != 3 or shape[0] != 1 or not 1 <= shape[1] <= MAX_TOKENS or not shape[2]:
        raise InputError(f"{file.path} lacks the tensor {name} of shape [1, n, C]: copy the whole model.")
    ((_, context),) = file.read([name])
    return context.float().clone()


def _comparable(value) -> object:
    return tuple(value) if isinstance(value, (list, tuple)) else value


SUPPORTED_SCHEDULERS = (
    "DDIMScheduler", "DDPMScheduler", "DEISMultistepScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler", "LMSDiscreteScheduler",
    "PNDMScheduler", "UniPCMultistepScheduler", "LCMScheduler", "TCDScheduler",
)  # fmt: skip
"""Schedulers of diffusion (not of flow matching) that need one prediction per step and no other arguments."""


def is_supported(scheduler: object) -> bool:
    """Return whether a scheduler is one of SUPPORTED_SCHEDULERS, or of a class derived from one."""
    return any(kind.__name__ in SUPPORTED_SCHEDULERS for kind in type(scheduler).__mro__)


def scheduler_from_config(config: object, where: str) -> SchedulerMixin:
    """Return the scheduler of a saved configuration.

    where: the file, in messages. Raises InputError for an unsupported scheduler and for wrong values.
    """
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name not in SUPPORTED_SCHEDULERS:
        raise InputError(
            f"{where}: {str(name)[:60]!r} is not a supported scheduler: "
            f"save the model with one of {', '.join(SUPPORTED_SCHEDULERS)}."
        )
    kind = getattr(diffusers, name)
    values = checked(SchedulerConfig, config, where, kind)
    try:
        scheduler = kind(**values)
    except (ImportError, NotImplementedError, ValueError) as error:  # for values that contradict each other
        raise InputError(
            f"{where}: {' '.join(str(error).split())} Save the model with other scheduler settings."
        ) from error
    if not (scheduler.alphas_cumprod[:-1] > 0).all():
        raise InputError(f"{where}: this schedule loses all signal before its end: lower beta_end.")
    return scheduler


def prediction_type(config: object, where: str) -> str:
    """Return the prediction type of a saved scheduler: "epsilon", "v_prediction" or "sample"."""
    given = config.get("prediction_type") if isinstance(config, dict) else None
    return checked(SchedulerConfig, {} if given is None else {"prediction_type": given}, where).get(
        "prediction_type", "epsilon"
    )
