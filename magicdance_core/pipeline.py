"""MagicDancePipeline: from a picture of a person and pose maps to frames of that person in those poses."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import SchedulerMixin
from PIL import Image
from torch import Tensor

from .checkpoints import ROLES, Components, load_folder, load_published, save_folder
from .choices import CONTROL_MODES
from .errors import InputError
from .models import Networks
from .sampling import Control, Progress, Sample, get_noise, run, vae_factor
from .sampling.images import OUTPUT_TYPES, to_images, to_pil
from .sampling.settings import FULL

EMBEDDED = Path(__file__).parent / "assets" / "embedded"


@dataclass(frozen=True)
class MagicDanceOutput:
    """frames: as `output_type` says; see `MagicDancePipeline.__call__`."""

    frames: list[Image.Image] | np.ndarray | Tensor


class MagicDancePipeline:
    """A whole model (`components`) and the way to sample from it.

    `unet`, `vae`, `appearance`, `pose` are networks; `defaults` holds `num_inference_steps`, `guidance_scale`
    and `sample_size` (pixels) that suit the model. The text tower, if any, stays on the CPU: sampling needs only
    the empty prompt, `components.context` `[1, n, C]`.
    """

    def __init__(self, components: Components):
        self.components = components
        self._prediction_type = components.scheduler.config.prediction_type
        if components.pose is not None and components.pose.pose_factor != self.factor:
            raise InputError(
                f"The Pose ControlNet shrinks pictures {components.pose.pose_factor} times and the VAE {self.factor} "
                "times: take both from one model."
            )

    @classmethod
    def from_single_file(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """A complete model in the published layout (.th, .ckpt, .pth, .safetensors), on the CPU.

        Raises InputError that says what the file is, lacks or has too much.
        """
        return cls(load_published(path, torch_dtype))

    @classmethod
    def from_pretrained(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """A folder written by `save_pretrained`, or a stock Stable Diffusion 1.5 folder (without controls)."""
        return cls(load_folder(path, torch_dtype))

    @classmethod
    def from_embedded(cls) -> "MagicDancePipeline":
        """The small model that comes with the pack, in float32 on the CPU."""
        if not EMBEDDED.is_dir():
            raise InputError(f"The embedded model is not in {EMBEDDED}: install the pack again.")
        return cls(load_folder(EMBEDDED, torch.float32))

    def save_pretrained(self, path: str | Path, torch_dtype: torch.dtype | None = None) -> None:
        """Write a diffusers folder, in another dtype if asked; complete or not at all."""
        save_folder(path, self.components, torch_dtype)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "MagicDancePipeline":
        """Move and cast the networks that sampling runs; returns the pipeline."""
        for role, network in self.components.networks().items():
            if ROLES[role].samples:
                torch.nn.Module.to(network, device=device, dtype=dtype)  # diffusers' own warns of nothing
        return self

    @property
    def unet(self):
        return self.components.unet

    @property
    def vae(self):
        return self.components.vae

    @property
    def appearance(self):
        return self.components.appearance

    @property
    def pose(self):
        return self.components.pose

    @property
    def defaults(self) -> dict:
        return self.components.defaults

    @property
    def factor(self) -> int:
        """Side of a picture divided by the side of its latent: 8 as published."""
        return vae_factor(self.vae)

    @property
    def scheduler(self) -> SchedulerMixin:
        """Any diffusers scheduler for the model's kind of prediction; DDIM as published unless set."""
        return self.components.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: SchedulerMixin) -> None:
        kind = scheduler.config.get("prediction_type", self._prediction_type)
        if kind != self._prediction_type:
            raise InputError(
                f"The model makes a {self._prediction_type} prediction and the scheduler expects {kind}: "
                "build it with from_config(pipe.scheduler.config)."
            )
        self.components.scheduler = scheduler

    @torch.no_grad()
    def __call__(
        self,
        reference: Image.Image | list[Image.Image] | Tensor,
        poses: list[Image.Image] | Tensor,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        control_mode: str = "controlnet_important",
        latents: Tensor | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        *,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        appearance: Control = FULL,
        pose: Control = FULL,
        eta: float = 0.0,
        frames_per_batch: int = 8,
        decode_batch: int = 4,
        callback: Callable[[Progress], None] | None = None,
    ) -> MagicDanceOutput:
        """Make one frame a pose map, of the person in the reference.

        reference: PIL image, or float tensor `[3, H, W]` or `[1, 3, H, W]` in [0, 1]; several pictures of the
        person as a list or `[R, 3, H, W]`. poses: list of PIL images, or float tensor `[F, 3, H, W]` in [0, 1];
        their size is the output's, and the reference may have another. All sides are multiples of `factor`.
        num_inference_steps, guidance_scale: None for the model's own (`defaults`: 50 and 7.0 as published).
        control_mode: "controlnet_important" leads away from the model without controls, "balance" from the
        negative prompt with them.
        latents: initial noise `[1, 4, h, w]` for all frames, or `[F, 4, h, w]`; by default one, drawn with
        `generator` (on the CPU for the same frames everywhere).
        output_type: "pil" list of images, "pt" `[F, 3, H, W]` in [0, 1], "np" `[F, H, W, 3]`, "latent"
        `[F, 4, h, w]` scaled, float32; tensors on the CPU.
        prompt_embeds, negative_prompt_embeds: text contexts `[1, n, C]`; by default the empty prompt, and for
        the negative one in "controlnet_important" the same as the positive one.
        appearance, pose: strength and range of each control. eta: of DDIM, 0 for no noise on the way.
        frames_per_batch, decode_batch: frames that the networks and the VAE take at once; results agree.
        callback: called with a `Progress` after each batch; an exception raised there cancels the run.

        The reference's latent is the mode of the VAE's posterior; the published code samples it.
        Raises InputError for what cannot be used, before any network runs.
        """
        steps = self._steps(num_inference_steps)
        scale = self.defaults["guidance_scale"] if guidance_scale is None else guidance_scale
        if not math.isfinite(scale):
            raise InputError(f"guidance_scale is {scale}: give a finite number, 1 for no guidance.")
        if control_mode not in CONTROL_MODES:
            raise InputError(f"The control mode {control_mode!r} is unknown: use {' or '.join(CONTROL_MODES)}.")
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"The output type {output_type!r} is unknown: use one of {', '.join(OUTPUT_TYPES)}.")
        for name, number in (("frames_per_batch", frames_per_batch), ("decode_batch", decode_batch)):
            if number < 1:
                raise InputError(f"{name} is {number}: give at least 1.")
        reference = to_images(reference, "The reference", self.factor)
        pose_maps = to_images(poses, "The pose sequence", self.factor)
        noise = self._noise(latents, pose_maps, generator)
        context = self._context(prompt_embeds, "prompt_embeds")
        if negative_prompt_embeds is not None:
            uncond_context = self._context(negative_prompt_embeds, "negative_prompt_embeds")
        else:
            uncond_context = self._context(None, "") if control_mode == "balance" else context

        sample = run(
            Networks(self.unet, self.appearance, self.pose),
            self.vae,
            self.scheduler,
            reference,
            pose_maps,
            noise,
            context,
            num_inference_steps=steps,
            guidance_scale=scale,
            uncond_context=uncond_context,
            control_mode=control_mode,
            appearance=appearance,
            pose=pose,
            frames_per_batch=frames_per_batch,
            decode_batch=decode_batch,
            eta=eta,
            generator=generator,
            callback=callback,
        )
        return MagicDanceOutput(_output(sample, output_type))

    def _steps(self, steps: int | None) -> int:
        steps = self.defaults["num_inference_steps"] if steps is None else steps
        most = self.scheduler.config.num_train_timesteps - 1
        if not (isinstance(steps, int) and 1 <= steps <= most):
            raise InputError(f"num_inference_steps is {steps}: give a whole number from 1 to {most}.")
        return steps

    def _noise(self, latents: Tensor | None, pose_maps: Tensor, generator: torch.Generator | None) -> Tensor:
        shape = (1, self.unet.config.in_channels, pose_maps.shape[2] // self.factor, pose_maps.shape[3] // self.factor)
        if latents is None:
            return get_noise(shape, generator)
        if tuple(latents.shape) not in (shape, (len(pose_maps), *shape[1:])):
            raise InputError(
                f"latents has the shape {list(latents.shape)}: give {list(shape)} for all frames "
                f"or {[len(pose_maps), *shape[1:]]}."
            )
        if not latents.isfinite().all():
            raise InputError("latents contains NaN or infinite values: give standard normal noise.")
        return latents.float()

    def _context(self, embeds: Tensor | None, what: str) -> Tensor:
        if embeds is None:
            embeds = self.components.context
        width = self.components.context.shape[-1]
        if embeds.dim() != 3 or len(embeds) != 1 or embeds.shape[-1] != width:
            raise InputError(f"{what} has the shape {list(embeds.shape)}: give [1, n, {width}].")
        return embeds


def _output(sample: Sample, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "latent":
        return sample.latents.cpu()
    if output_type == "pil":
        return [image for frames in sample.frames for image in to_pil(frames)]
    frames = torch.cat(list(sample.frames))
    return frames if output_type == "pt" else frames.permute(0, 2, 3, 1).numpy()
