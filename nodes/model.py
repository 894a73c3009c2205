"""What travels on the links between the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..magicdance_core.choices import DEFAULT

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from diffusers import SchedulerMixin
    from torch import Tensor

    from ..magicdance_core.checkpoints import Lora
    from ..magicdance_core.models.motion_module import NoiseKind
    from ..magicdance_core.sampling import Control, Windows

TYPE = "MAGICDANCE_MODEL"
MOTION_TYPE = "MAGICDANCE_MOTION"
CONTEXT_TYPE = "MAGICDANCE_CONTEXT"
SPEED_TYPE = "MAGICDANCE_SPEED"  # sampling.Shortcuts


@dataclass(frozen=True, eq=False)
class Motion:
    """MAGICDANCE_MOTION: a motion module in ComfyUI's keeping (`memory.hold`). adapter: what is added to the UNet for
    it, this many times."""

    module: ModelPatcher
    adapter: Lora | None = None
    adapter_strength: float = 1.0


@dataclass(frozen=True)
class ContextOptions:
    """MAGICDANCE_CONTEXT: how a motion module is used; None stands for its own way.

    quick: the first frames soon, an approximation. windows: random ones wait for the seed of a run.
    """

    windows: Windows | None = None
    noise: NoiseKind | None = None
    beta_schedule: str = DEFAULT
    motion_in_uncond: bool = False
    quick: bool = False

    def seeded(self, seed: int) -> ContextOptions:
        """For a run of a seed."""
        if self.windows is None or self.windows.random is None:
            return self
        return replace(self, windows=replace(self.windows, random=seed))


@dataclass(frozen=True, eq=False)
class MagicDanceModel:
    """MAGICDANCE_MODEL: networks in ComfyUI's keeping (`memory.hold`) and settings; nodes return changed copies.

    context: the empty prompt `[1, n, C]`; None where no CLIP was connected. knows_text: whether prompts can replace
    it. puppets_only: whether drawn puppets are all it knows. scheduler: never stepped, only copied. defaults:
    `num_inference_steps`, `guidance_scale`, `sample_size`. appearance_control, pose_control, motion_control: strength
    and range; None for full strength all the time.
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
    motion: ModelPatcher | None = None
    appearance_control: Control | None = None
    pose_control: Control | None = None
    motion_control: Control | None = None
