"""The parts of a model: its networks, scheduler and defaults."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import diffusers
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..errors import InputError
from ..models import AppearanceControlModel, MotionModule, PoseControlNet, vae_scale_factor
from .configuration import Defaults, SchedulerConfig, checked
from .roles import ROLES
from .tensors import Tensors

EMBEDDED = Path(__file__).parents[1] / "assets" / "embedded"
"""The folder of the small model that comes with the pack."""
EMBEDDED_MOTION = EMBEDDED.parent / "embedded_motion.safetensors"
"""The motion module that was trained for it; it is used where it is asked for."""
PUBLISHED_DEFAULTS = asdict(Defaults())
SHARED = ("block_out_channels", "cross_attention_dim", "down_block_types", "in_channels", "layers_per_block")
MAX_TOKENS = 4096


@dataclass
class Components:
    """A whole model; its networks are fields named as in `ROLES`.

    unet: holds `SourceAttention` processors. appearance, pose, motion: None where the source had no such network.
    text_encoder: None where the model knows no text. context: the empty prompt `[1, n, C]`, float32, on the
    CPU. defaults: `num_inference_steps`, `guidance_scale` and `sample_size` (pixels) that suit the model.
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

    def networks(self) -> dict[str, nn.Module]:
        """Those that are there, by role."""
        return {name: network for name in ROLES if (network := getattr(self, name)) is not None}

    def check(self, where: str) -> "Components":
        """Itself, if the networks fit one another; where: names the place in messages. Raises InputError else."""
        unet, vae = self.unet.config, self.vae.config
        if not unet.in_channels == unet.out_channels == vae.latent_channels:
            raise InputError(
                f"{where}: the UNet takes {unet.in_channels} channels and gives {unet.out_channels}, the VAE has "
                f"{vae.latent_channels}: give a model made from Stable Diffusion 1.5."
            )
        if self.context.shape[-1] != unet.cross_attention_dim:
            raise InputError(
                f"{where}: texts are {self.context.shape[-1]} wide and the UNet reads {unet.cross_attention_dim}: "
                "take text and UNet from one model."
            )
        for name, control in (("appearance", self.appearance), ("pose", self.pose)):
            if control is not None and not fits(control, self.unet, self.vae):
                raise InputError(
                    f"{where}: the {ROLES[name].title} was made for another UNet: take one family of models."
                )
        return self


def fits(control: nn.Module, unet: nn.Module, vae: nn.Module) -> bool:
    """Whether a control was made for a UNet and a VAE of these sizes."""
    factor = getattr(control, "pose_scale_factor", None)
    alike = all(_comparable(control.config[key]) == _comparable(unet.config[key]) for key in SHARED)
    return alike and factor in (None, vae_scale_factor(vae))


def read_context(file: Tensors, name: str) -> Tensor:
    """The empty prompt that a file holds, `[1, n, C]` float32. Raises InputError where it does not."""
    shape = file.shapes.get(name, ())
    if len(shape) != 3 or shape[0] != 1 or not 1 <= shape[1] <= MAX_TOKENS or not shape[2]:
        raise InputError(f"{file.path} lacks the tensor {name} of shape [1, n, C]: copy the whole model.")
    ((_, context),) = file.read([name])
    return context.float().clone()


def _comparable(value) -> object:
    return tuple(value) if isinstance(value, (list, tuple)) else value


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
