"""Types of the links between the pack's nodes, and the values that travel on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..magicdance_core.choices import DEFAULT

if TYPE_CHECKING:
    from pathlib import Path

    from comfy.model_patcher import ModelPatcher
    from diffusers import SchedulerMixin
    from torch import Tensor

    from ..magicdance_core.checkpoints import Lora
    from ..magicdance_core.models.motion_module import NoiseKind
    from ..magicdance_core.sampling import Control, Windows

MODEL_TYPE = "MAGICDANCE_MODEL"
MOTION_TYPE = "MAGICDANCE_MOTION"
CONTEXT_TYPE = "MAGICDANCE_CONTEXT"
SPEED_TYPE = "MAGICDANCE_SPEED"  # its value is a sampling.Shortcuts
REGIONS_TYPE = "MAGICDANCE_REGIONS"  # its value is a tuple of `RegionInput`
APPEARANCE_TYPE = "MAGICDANCE_APPEARANCE"  # its value is an Appearance Control Model (`memory.hold`)


@dataclass(frozen=True, eq=False)
class Motion:
    """Value of MAGICDANCE_MOTION: a motion module (`memory.hold`), and a LoRA for the UNet that belongs to it."""

    module: ModelPatcher
    adapter: Lora | None = None
    adapter_strength: float = 1.0


@dataclass(frozen=True, eq=False)
class RegionInput:
    """A reference (IMAGE), the MASK of where it acts, and that of the person in it, None for all; checked."""

    reference: Tensor
    mask: Tensor
    reference_mask: Tensor | None = None


@dataclass(frozen=True)
class ContextOptions:
    """Value of MAGICDANCE_CONTEXT: how a motion module is applied. None and "default" stand for the model's default.

    quick: sample window after window, so that the first frames are ready soon; an approximation.
    windows: their random starts, if any, are seeded by `seeded`.
    """

    windows: Windows | None = None
    noise: NoiseKind | None = None
    beta_schedule: str = DEFAULT
    motion_in_uncond: bool = False
    quick: bool = False

    def seeded(self, seed: int) -> ContextOptions:
        """Return these options with the random starts of the windows drawn from `seed`."""
        if self.windows is None or self.windows.random is None:
            return self
        return replace(self, windows=replace(self.windows, random=seed))


@dataclass(frozen=True, eq=False)
class MagicDanceModel:
    """Value of MAGICDANCE_MODEL: networks (`memory.hold`) and settings. Nodes return changed copies of it.

    context: embeddings of the empty prompt, `[1, n, C]`; None without a CLIP.
    takes_prompts: whether prompts can replace `context`.
    puppets_only: whether the model was trained on drawn puppets only.
    face_loras: files of LoRAs for the face pass.
    scheduler: a template, copied for every run.
    defaults: `num_inference_steps`, `guidance_scale` and `sample_size`.
    appearance_control, pose_control, motion_control: strength and range; None for strength 1 at all steps.
    """

    unet: ModelPatcher
    vae: ModelPatcher
    scheduler: SchedulerMixin
    context: Tensor | None
    takes_prompts: bool
    puppets_only: bool = False
    face_loras: tuple[Path, ...] = ()
    defaults: Mapping = field(default_factory=lambda: MappingProxyType({}))
    appearance: ModelPatcher | None = None
    pose: ModelPatcher | None = None
    motion: ModelPatcher | None = None
    appearance_control: Control | None = None
    pose_control: Control | None = None
    motion_control: Control | None = None
