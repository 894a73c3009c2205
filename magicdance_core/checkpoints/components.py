"""What a checkpoint holds, once it is made of networks."""

from dataclasses import dataclass, field

from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from ..models import AppearanceControlModel, PoseControlNet

PUBLISHED_DEFAULTS = {"num_inference_steps": 50, "guidance_scale": 7.0, "sample_size": 512}


@dataclass
class Components:
    """A whole model.

    unet: holds `SourceAttention` processors. appearance, pose: None where the source had no such network.
    text_encoder: None where the model knows no text. context: the empty prompt `[1, n, C]`, float32, on the
    CPU. defaults: `num_inference_steps`, `guidance_scale` and `sample_size` (pixels) that suit the model.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    appearance: AppearanceControlModel | None
    pose: PoseControlNet | None
    scheduler: SchedulerMixin
    text_encoder: CLIPTextModel | None
    context: Tensor
    defaults: dict = field(default_factory=PUBLISHED_DEFAULTS.copy)
