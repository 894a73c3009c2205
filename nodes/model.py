"""MAGICDANCE_MODEL: what travels on the links between the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from diffusers import SchedulerMixin
    from torch import Tensor

    from ..magicdance_core.sampling import Control

TYPE = "MAGICDANCE_MODEL"


@dataclass(frozen=True, eq=False)
class MagicDanceModel:
    """Networks in ComfyUI's keeping (`memory.hold`) and settings; nodes return changed copies.

    context: the empty prompt `[1, n, C]`; None where no CLIP was connected. knows_text: whether prompts can replace
    it. puppets_only: whether drawn puppets are all it knows. scheduler: never stepped, only copied. defaults:
    `num_inference_steps`, `guidance_scale`, `sample_size`. appearance_control, pose_control: strength and range; None
    for full strength all the time.
    """

    unet: ModelPatcher
    vae: ModelPatcher
    scheduler: SchedulerMixin
    context: Tensor | None
    knows_text: bool
    puppets_only: bool = False
    defaults: Mapping = field(default_factory=lambda: MappingProxyType({}))
    appearance: ModelPatcher | None = None
    pose: ModelPatcher | None = None
    appearance_control: Control | None = None
    pose_control: Control | None = None
