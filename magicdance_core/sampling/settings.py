"""Settings of a sampling run: one frozen dataclass, checked once and handed on whole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from ..checks import check_type, number
from ..choices import CONTROL_MODES, DEFAULT, NOISES
from ..errors import InputError
from ..models.motion_module import NoiseKind
from .windows import Windows

MAX_STEPS = 999  # Stable Diffusion has 1000 timesteps, and steps_offset takes one


@dataclass(frozen=True)
class Control:
    """Strength and range of one control.

    strength: 1 is the published behaviour, 0 is exactly no control. Appearance: weight of each reference token relative
    to an own token; pose: factor of the ControlNet's residuals; motion: factor of what the temporal layers add.
    start, end: active part of the run as fractions of its steps; step i of n is active if start <= i / n < end.
    """

    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        for name, high in (("strength", None), ("start", 1), ("end", 1)):
            object.__setattr__(self, name, number(float, getattr(self, name), f"A control's {name}", 0, high))
        if self.start > self.end:
            raise InputError(f"A control runs from {self.start} to {self.end}: give 0 <= start <= end <= 1.")

    def is_active(self, step: int, steps: int) -> bool:
        """Return whether the step (from 0) lies in the range."""
        return self.start <= step / steps < self.end

    def at(self, step: int, steps: int) -> float:
        """Return the strength at a step (from 0): 0 outside of the range."""
        return self.strength if self.is_active(step, steps) else 0.0


@dataclass(frozen=True)
class Shortcuts:
    """Computation that a run skips for speed, at a small price in quality; nothing by default.

    guidance: part of the run with guidance, as fractions of its steps. The other steps compute the conditional
    prediction only (Kynkäänniemi et al., arXiv 2404.07724).
    reference_every, pose_every: interval in steps between runs of the Appearance Control Model and of the Pose
    ControlNet; their last outputs are reused in between. The ControlNet's take 13 MB a frame in float16 at 512 x 512.
    """

    guidance: tuple[float, float] = (0.0, 1.0)
    reference_every: int = 1
    pose_every: int = 1

    def __post_init__(self):
        interval = Control(1.0, *self.guidance)
        object.__setattr__(self, "guidance", (interval.start, interval.end))
        for name in ("reference_every", "pose_every"):
            object.__setattr__(self, name, number(int, getattr(self, name), name, 1))

    def guided(self, step: int, steps: int) -> bool:
        """Return whether guidance is active at a step (from 0)."""
        return Control(1.0, *self.guidance).is_active(step, steps)

    def read_at(self, step: int) -> int:
        """Return the step at which the reference was read that a step uses."""
        return step - step % self.reference_every


@dataclass(frozen=True)
class Preset:
    """A named compromise between speed and quality.

    steps: fraction of the model's default number of steps. scheduler: a name in `choices.SCHEDULERS`.
    """

    steps: float = 1.0
    scheduler: str = DEFAULT
    shortcuts: Shortcuts = field(default_factory=Shortcuts)

    def count(self, default_steps: int) -> int:
        """Return the number of steps for a model whose default is `default_steps`."""
        return max(1, round(self.steps * default_steps))


PRESETS = {
    "exact": Preset(),
    "fast": Preset(0.5, "dpmpp_2m", Shortcuts(guidance=(0.5, 1.0))),
    "preview": Preset(0.2, "dpmpp_2m", Shortcuts(guidance=(0.0, 0.5), pose_every=2)),
}
"""The presets named in `choices.PRESETS`, chosen from the table that `python -m benchmarks.price` makes."""


@dataclass(frozen=True)
class SamplingSettings:
    """Everything that decides how a run samples, apart from its inputs and the scheduler.

    num_inference_steps, guidance_scale: None for the model's defaults (50 and 7.0 as published); a scale of 1 skips the
    unconditional prediction.
    control_mode: "controlnet_important" (published) contrasts the controls with the plain UNet; "balance" keeps the
    controls in both predictions, so that only the prompts are contrasted, and equal prompts need one prediction.
    appearance_control, pose_control, motion_control: strength and range of each control.
    motion_in_uncond: apply the motion module to the unconditional prediction, too, as AnimateDiff does.
    shortcuts: computation to skip for speed.
    batched_guidance: run the conditional and the unconditional prediction in one batch, with the same result in half
    the calls and twice the memory; None decides by the device's free memory.
    windows: frames that the motion module sees together; None for 16 frames, 4 of them overlapping.
    noise: how the frames' initial noises relate, see `FrameNoise`; None for what suits the motion module, "shared"
    without one.
    eta: of DDIM, from 0 (deterministic) to 1.
    strength: for a run that starts from given pictures, the part of the steps that it takes: it starts from their
    latents, noised as much as that part of the schedule removes (SDEdit, Meng et al., arXiv 2108.01073).
    frames_per_batch: frames per forward pass without a motion module; decode_chunk_size: frames that the VAE decodes at
    once. Both change memory and speed, not the result.
    quick: finish one window after the other, so that the first frames are ready early; an approximation.

    Raises InputError that names the first field that cannot be used.
    """

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    control_mode: str = CONTROL_MODES[0]
    appearance_control: Control = field(default_factory=Control)
    pose_control: Control = field(default_factory=Control)
    motion_control: Control = field(default_factory=Control)
    motion_in_uncond: bool = False
    shortcuts: Shortcuts = field(default_factory=Shortcuts)
    batched_guidance: bool | None = None
    windows: Windows | None = None
    noise: NoiseKind | None = None
    eta: float = 0.0
    strength: float = 1.0
    frames_per_batch: int = 8
    decode_chunk_size: int = 4
    quick: bool = False

    def __post_init__(self):
        for name, kind, low, high in (
            ("num_inference_steps", int, 1, MAX_STEPS),
            ("guidance_scale", float, None, None),
            ("eta", float, 0, 1),
            ("strength", float, 0, 1),
            ("frames_per_batch", int, 1, None),
            ("decode_chunk_size", int, 1, None),
        ):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, number(kind, value, name, low, high))
        for name in ("appearance_control", "pose_control", "motion_control"):
            check_type(getattr(self, name), name, Control)
        for name in ("motion_in_uncond", "quick"):
            check_type(getattr(self, name), name, bool)
        check_type(self.batched_guidance, "batched_guidance", bool | None)
        check_type(self.shortcuts, "shortcuts", Shortcuts)
        check_type(self.windows, "windows", Windows | None)
        if self.control_mode not in CONTROL_MODES:
            raise InputError(f"The control mode {self.control_mode!r} is unknown: use {' or '.join(CONTROL_MODES)}.")
        known = [kind for kind in NOISES if kind != DEFAULT]
        if self.noise is not None and self.noise not in known:
            raise InputError(f"The noise {self.noise!r} is unknown: use one of {', '.join(known)}.")

    def resolve(self, defaults: Mapping[str, Any], max_steps: int = MAX_STEPS) -> "SamplingSettings":
        """Return settings with the model's defaults in place of None for the number of steps and the guidance scale.

        max_steps: the scheduler's limit. Raises InputError for more steps.
        """
        steps, scale = self.num_inference_steps, self.guidance_scale
        settings = replace(
            self,
            num_inference_steps=defaults["num_inference_steps"] if steps is None else steps,
            guidance_scale=defaults["guidance_scale"] if scale is None else scale,
        )
        if settings.steps > max_steps:
            raise InputError(f"num_inference_steps is {settings.steps}: give 1 to {max_steps}.")
        return settings

    @property
    def steps(self) -> int:
        """The number of steps, of resolved settings."""
        assert self.num_inference_steps is not None, "resolve the settings first"
        return self.num_inference_steps

    @property
    def scale(self) -> float:
        """The guidance scale, of resolved settings."""
        assert self.guidance_scale is not None, "resolve the settings first"
        return self.guidance_scale

    def changes(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain data, for reports."""
        plain, defaults = asdict(self), asdict(SamplingSettings())
        return {f.name: plain[f.name] for f in fields(self) if plain[f.name] != defaults[f.name]}
