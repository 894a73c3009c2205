"""MagicDancePipeline: from a picture of a person and pose maps to frames of that person in those poses."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from diffusers import SchedulerMixin
from PIL import Image
from torch import Tensor

from .arguments import run_arguments
from .checkpoints import EMBEDDED, ROLES, Components, load_folder, load_motion, load_published, merge_lora, save_folder
from .checks import check_type
from .errors import InputError
from .models import MotionModule, check_motion_fits, vae_scale_factor
from .models.compilation import check_compiler, compile_blocks
from .models.motion_module import NoiseKind
from .sampling import (
    Bunch,
    Control,
    Person,
    Progress,
    Sample,
    Windows,
    encode_images,
    run,
    stream,
)
from .sampling.images import OUTPUT_TYPES, to_images, to_pil
from .sampling.settings import FULL, NO_SHORTCUTS, Shortcuts
from .sampling.steps import remembers


@dataclass(frozen=True)
class MagicDanceOutput:
    """frames: as `output_type` says; see `MagicDancePipeline.__call__`."""

    frames: list[Image.Image] | np.ndarray | Tensor


class MagicDancePipeline:
    """A whole model (`components`) and the way to sample from it.

    `unet`, `vae`, `appearance`, `pose`, `motion` are networks; `defaults` holds `num_inference_steps`, `guidance_scale`
    and `sample_size` (pixels) that suit the model. The text tower, if any, stays on the CPU: sampling needs only
    the empty prompt, `components.context` `[1, n, C]`.
    """

    def __init__(self, components: Components):
        self.components = components
        self._prediction_type = components.scheduler.config.prediction_type
        if components.pose is not None and components.pose.pose_scale_factor != self.factor:
            raise InputError(
                f"The Pose ControlNet shrinks pictures {components.pose.pose_scale_factor} times and the VAE "
                f"{self.factor} times: take both from one model."
            )
        self.motion = components.motion

    @classmethod
    def from_single_file(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """A complete model in the published layout (.th, .ckpt, .pth, .safetensors), on the CPU.

        Raises InputError that says what the file is, lacks or has too much.
        """
        check_type(torch_dtype, "torch_dtype", torch.dtype)
        return cls(load_published(path, torch_dtype))

    @classmethod
    def from_pretrained(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """A folder written by `save_pretrained`, or a stock Stable Diffusion 1.5 folder (without controls)."""
        check_type(torch_dtype, "torch_dtype", torch.dtype)
        return cls(load_folder(path, torch_dtype))

    @classmethod
    def from_embedded(cls) -> "MagicDancePipeline":
        """The small model that comes with the pack, in float32 on the CPU."""
        if not EMBEDDED.is_dir():
            raise InputError(f"The embedded model is not in {EMBEDDED}: install the pack again.")
        return cls(load_folder(EMBEDDED, torch.float32))

    def load_motion(self, path: str | Path, loras: Sequence[tuple[str | Path, float]] = ()) -> None:
        """Take a motion module from a file or folder, where and as precise as the UNet is.

        See `checkpoints.load_motion`. loras: files and their strengths; motion LoRAs go into the module, AnimateDiff
        v3's adapter into the UNet, for good.
        """
        motion = load_motion(path, self.unet.dtype)
        check_motion_fits(self.unet, self.vae, motion)
        for file, strength in loras:
            merge_lora(file, strength, motion, self.unet)
        self.motion = torch.nn.Module.to(motion, self.unet.device)

    def save_pretrained(self, path: str | Path, torch_dtype: torch.dtype | None = None) -> None:
        """Write a diffusers folder, in another dtype if asked; complete or not at all."""
        check_type(torch_dtype, "torch_dtype", torch.dtype | None)
        save_folder(path, self.components, torch_dtype)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "MagicDancePipeline":
        """Move and cast the networks that sampling runs; returns the pipeline. On a GPU convolutions take channels
        last, as their kernels do."""
        for role, network in self.components.networks().items():
            if ROLES[role].samples:
                torch.nn.Module.to(network, device=device, dtype=dtype)  # diffusers' own warns of nothing
                if next(network.parameters()).device.type == "cuda":
                    torch.nn.Module.to(network, memory_format=torch.channels_last)
        return self

    def compile(self) -> None:
        """Compile the blocks of the UNet and the Pose ControlNet where they are now, each kind when it is first called.

        Raises InputError where there is no compiler.
        """
        check_compiler(self.unet.device)
        for network in (self.unet, self.pose):
            if network is not None:
                compile_blocks(network)

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
    def motion(self) -> MotionModule | None:
        """What lets frames see each other; None for frames on their own."""
        return self.components.motion

    @motion.setter
    def motion(self, motion: MotionModule | None) -> None:
        if motion is not None:
            check_motion_fits(self.unet, self.vae, motion)
        self.components.motion = motion

    @contextmanager
    def without_motion(self) -> Iterator[None]:
        """Within this frames are made on their own."""
        motion, self.motion = self.motion, None
        try:
            yield
        finally:
            self.motion = motion

    @property
    def defaults(self) -> dict:
        return self.components.defaults

    @property
    def factor(self) -> int:
        """Side of a picture divided by the side of its latent: 8 as published."""
        return vae_scale_factor(self.vae)

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
        reference: Image.Image | list[Image.Image] | Tensor | Person,
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
        motion: Control = FULL,
        motion_in_uncond: bool = False,
        shortcuts: Shortcuts = NO_SHORTCUTS,
        one_pass: bool | None = None,
        windows: Windows | None = None,
        noise: NoiseKind | None = None,
        eta: float = 0.0,
        frames_per_batch: int = 8,
        decode_batch: int = 4,
        callback: Callable[[Progress], None] | None = None,
    ) -> MagicDanceOutput:
        """Make one frame a pose map, of the person in the reference.

        reference: PIL image, or float tensor `[3, H, W]` or `[1, 3, H, W]` in [0, 1]; several pictures of the
        person as a list or `[R, 3, H, W]`; or what `read` made of them. poses: list of PIL images, or float tensor
        `[F, 3, H, W]` in [0, 1]; their size is the output's, and the reference may have another. All sides are
        multiples of `factor`.
        num_inference_steps, guidance_scale: None for the model's own (`defaults`: 50 and 7.0 as published).
        control_mode: "controlnet_important" leads away from the model without controls, "balance" from the
        negative prompt with them.
        latents: initial noise `[1, 4, h, w]` for all frames, or `[F, 4, h, w]`; by default drawn with `generator`
        (on the CPU for the same frames everywhere).
        output_type: "pil" list of images, "pt" `[F, 3, H, W]` in [0, 1], "np" `[F, H, W, 3]`, "latent"
        `[F, 4, h, w]` scaled, float32; tensors on the CPU.
        prompt_embeds, negative_prompt_embeds: text contexts `[1, n, C]`; by default the empty prompt, and for
        the negative one in "controlnet_important" the same as the positive one.
        appearance, pose, motion: strength and range of each control. motion_in_uncond: the motion module also acts in
        the branch that guidance leads away from. shortcuts: what is left out for speed, see `Shortcuts`; `PRESETS` has
        some that were measured. one_pass: both halves of guidance go through the UNet together, which changes no frame
        and takes twice the memory; by default where a GPU has it to spare.
        windows: which frames the motion module sees together; by default 16 with 4 overlapping. Where it has layers
        for the VAE's decoder, frames see their neighbours there, too, at the same strength.
        noise: what frames share, see `FrameNoise`; by default what suits the motion module, "shared" without one.
        eta: of DDIM, 0 for no noise on the way.
        frames_per_batch, decode_batch: frames that the networks, without a motion module, and the VAE take at once;
        results agree.
        callback: called with a `Progress` after each batch; an exception raised there cancels the run.

        The reference's latent is the mode of the VAE's posterior; the published code samples it.
        Raises InputError for what cannot be used, before any network runs.
        """
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"The output type {output_type!r} is unknown: use one of {', '.join(OUTPUT_TYPES)}.")
        pose_maps = to_images(poses, "The pose sequence", self.factor)
        arguments = run_arguments(
            self.components,
            reference,
            pose_maps,
            len(pose_maps),
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            control_mode=control_mode,
            latents=latents,
            generator=generator,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            appearance=appearance,
            pose=pose,
            motion=motion,
            motion_in_uncond=motion_in_uncond,
            shortcuts=shortcuts,
            one_pass=one_pass,
            windows=windows,
            noise=noise,
            eta=eta,
            frames_per_batch=frames_per_batch,
            decode_batch=decode_batch,
            callback=callback,
        )
        return MagicDanceOutput(_output(run(**arguments, pose_maps=pose_maps), output_type))

    def stream(
        self,
        reference: Image.Image | list[Image.Image] | Tensor | Person,
        poses: Iterable[Image.Image],
        frames: int,
        *,
        state: dict[str, Tensor] | None = None,
        quick: bool = False,
        **options,
    ) -> Iterator[Bunch]:
        """Make a video of any length in the memory of a short one; its frames come out as they are ready.

        poses: pose maps, read one after the other when they are needed; frames: how many of them.
        state: of an earlier `Bunch` of the same run, to go on behind it, to the same pixels; for
        schedulers that take each step on its own, like DDIM. quick: the first frames after as many windows as
        there are steps, an approximation. options: those of a call, without `latents` and `output_type`; `generator`
        as at the beginning of the run.
        Raises InputError for what cannot be used, as soon as it is seen.
        """
        if state is not None and remembers(self.scheduler):
            raise InputError(f"A run with {type(self.scheduler).__name__} cannot be resumed: use DDIM or start afresh.")
        maps = (to_images(pose, "The pose sequence", self.factor) for pose in islice(poses, frames))
        first = next(maps, None)
        if first is None:
            raise InputError("The pose sequence is empty: give at least one pose.")
        arguments = run_arguments(self.components, reference, first, frames, **options)
        if state is not None and options.get("shortcuts", NO_SHORTCUTS).pose_every > 1:
            raise InputError("A run whose Pose ControlNet rests at some steps cannot be resumed: start afresh.")
        yield from stream(**arguments, poses=chain([first], maps), frames=frames, state=state, quick=quick)

    def read(self, reference: Image.Image | list[Image.Image] | Tensor) -> Person:
        """A reference for several calls, in place of the pictures: encoded once, and read once at each step of all of
        them. Good for this model where it is now."""
        return Person(encode_images(self.vae, to_images(reference, "The reference", self.factor)))


def _output(sample: Sample, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "latent":
        return sample.latents.cpu()
    if output_type == "pil":
        return [image for frames in sample.frames for image in to_pil(frames)]
    frames = torch.cat(list(sample.frames))
    return frames if output_type == "pt" else frames.permute(0, 2, 3, 1).numpy()
