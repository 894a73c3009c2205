"""What a checkpoint holds, once it is made of networks."""

from dataclasses import dataclass, field
from pathlib import Path

from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..models import AppearanceControlModel, MotionModule, PoseControlNet
from .roles import ROLES

EMBEDDED = Path(__file__).parents[1] / "assets" / "embedded"
"""The folder of the small model that comes with the pack."""
PUBLISHED_DEFAULTS = {"num_inference_steps": 50, "guidance_scale": 7.0, "sample_size": 512}


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
