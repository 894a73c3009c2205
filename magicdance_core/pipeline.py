"""MagicDancePipeline: from a picture of a person and pose maps to frames of that person in those poses."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .checkpoints import (
    EMBEDDED,
    EMBEDDED_FACES,
    ROLES,
    SUPPORTED_SCHEDULERS,
    Components,
    is_supported,
    load_folder,
    load_motion,
    load_published,
    merge_lora,
    merge_weight_lora,
    save_folder,
    weight_changes,
    with_loras,
)
from .checkpoints.motion_files import MAX_STRENGTH
from .checkpoints.text_encoder import prompt_encoder
from .checks import check_type, number
from .choices import FACE_PASS_STRENGTH
from .errors import InputError
from .models import AppearanceControlModel, MotionModule, PoseControlNet, check_motion_fits, vae_scale_factor
from .models.compilation import check_compiler, compile_blocks
from .sampling import (
    Background,
    EncodedReference,
    FrameChunk,
    Phase,
    Placement,
    Progress,
    Region,
    Sample,
    SamplingSettings,
    encode_images,
    prepare,
    run,
    stream,
)
from .sampling.images import OUTPUT_TYPES, to_images, to_pil

if TYPE_CHECKING:
    from .pose.keypoints import PoseFrame

Reference: TypeAlias = Image.Image | list[Image.Image] | Tensor | EncodedReference | list[Region]


@dataclass(frozen=True)
class MagicDanceOutput:
    """frames: as `output_type` says; see `MagicDancePipeline.__call__`."""

    frames: list[Image.Image] | np.ndarray | Tensor


class MagicDancePipeline:
    """A complete model (`components`) and the way to sample from it.

    `unet`, `vae`, `appearance`, `pose`, `motion` are networks; `defaults` holds the model's `num_inference_steps`,
    `guidance_scale` and `sample_size` (pixels). `face_loras` holds files and strengths of LoRAs that act in the face
    pass alone. The text encoder, if any, stays on the CPU: sampling needs only the empty prompt, `components.context`
    `[1, n, C]`.
    """

    def __init__(self, components: Components):
        self.components = components
        self._prediction_type = components.scheduler.config.prediction_type
        self._placement: Placement | None = None
        self.face_loras: list[tuple[str | Path, float]] = []
        self._progress_bar_config: dict = {}
        if components.pose is not None and components.pose.pose_scale_factor != self.factor:
            raise InputError(
                f"The Pose ControlNet shrinks pictures {components.pose.pose_scale_factor} times and the VAE "
                f"{self.factor} times: take both from one model."
            )
        self.motion = components.motion

    @classmethod
    def from_single_file(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """Load a complete model in the published layout (.th, .ckpt, .pth, .safetensors), on the CPU.

        Raises InputError that says what the file is, lacks or has too much.
        """
        check_type(torch_dtype, "torch_dtype", torch.dtype)
        return cls(load_published(path, torch_dtype))

    @classmethod
    def from_pretrained(cls, path: str | Path, torch_dtype: torch.dtype = torch.float32) -> "MagicDancePipeline":
        """Load a folder written by `save_pretrained`, or a stock Stable Diffusion 1.5 folder (without controls)."""
        check_type(torch_dtype, "torch_dtype", torch.dtype)
        return cls(load_folder(path, torch_dtype))

    @classmethod
    def from_embedded(cls) -> "MagicDancePipeline":
        """Load the small model that comes with the pack, in float32 on the CPU."""
        if not EMBEDDED.is_dir():
            raise InputError(f"The embedded model is not in {EMBEDDED}: install the pack again.")
        pipe = cls(load_folder(EMBEDDED, torch.float32))
        for file in sorted((EMBEDDED.parent / EMBEDDED_FACES).glob("*.safetensors")):
            pipe.load_face_lora(file)
        return pipe

    def load_motion(self, path: str | Path, loras: Sequence[tuple[str | Path, float]] = ()) -> None:
        """Load a motion module from a file or folder, to the UNet's device and dtype; see `checkpoints.load_motion`.

        loras: files and their strengths; motion LoRAs are merged into the module, AnimateDiff v3's adapter into the
        UNet, permanently.
        """
        motion = load_motion(path, self.unet.dtype)
        check_motion_fits(self.unet, self.vae, motion)
        for file, strength in loras:
            merge_lora(file, strength, motion, self.unet)
        self.motion = torch.nn.Module.to(motion, self.unet.device)

    def load_lora(self, path: str | Path, strength: float = 1.0) -> None:
        """Merge a LoRA for Stable Diffusion 1.5 (kohya's, diffusers' or PEFT's names) into UNet and text encoder, or
        one of the trainer into the network that it was trained for; permanently. See `checkpoints.merge_weight_lora`.
        """
        merge_weight_lora(path, strength, self.components)

    def load_face_lora(self, path: str | Path, strength: float = 1.0) -> None:
        """Use a LoRA in the face pass only, such as one trained on close-ups; see `load_lora` for the files.

        The pass then has copies of the networks that LoRAs change.
        """
        weight_changes(path, self.components)  # refused now if it does not fit
        strength = number(float, strength, f"The strength of {path}", -MAX_STRENGTH, MAX_STRENGTH)
        self.face_loras.append((path, strength))

    def face_model(self) -> tuple[Components, Placement | None]:
        """Return the model of the face pass, and where it computes if its networks are moved there for each phase."""
        if not self.face_loras:
            return self.components, self._placement
        model = with_loras(self.components, self.face_loras)
        return model, None if self._placement is None else _offloading(model, self._placement.unet[0])

    def encode_prompt(self, prompt: str, tokenizer: str | Path) -> Tensor:
        """Return the embedding of a prompt, `[1, 77, C]`, for `prompt_embeds`.

        tokenizer: a folder with vocab.json and merges.txt. Raises InputError if the model has no text encoder.
        """
        if self.components.text_encoder is None:
            raise InputError("The model has no text encoder, so it takes no prompt: leave the prompt out.")
        return prompt_encoder(self.components.text_encoder, Path(tokenizer))(prompt)

    def save_pretrained(self, path: str | Path, torch_dtype: torch.dtype | None = None) -> None:
        """Write a diffusers folder, in another dtype if given; completely or not at all."""
        check_type(torch_dtype, "torch_dtype", torch.dtype | None)
        save_folder(path, self.components, torch_dtype)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "MagicDancePipeline":
        """Move and cast the networks that sampling runs; returns the pipeline. Convolutions on a GPU take channels
        last, as its kernels do."""
        self._placement = None
        for role, network in self.components.networks().items():
            if ROLES[role].samples:
                torch.nn.Module.to(network, device=device, dtype=dtype)  # diffusers' own warns without need
                if next(network.parameters()).device.type == "cuda":
                    torch.nn.Module.to(network, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def enable_model_cpu_offload(self, device: torch.device | str = "cuda") -> None:
        """Keep the networks on the CPU and move those of a phase (VAE, or UNet and controls) to the device when needed.

        For GPUs that cannot hold all networks at once; a stream needs them together, except the reference's encoding.
        `to` disables it.
        """
        self.to("cpu")
        self._placement = _offloading(self.components, torch.device(device))

    def compile(self) -> None:
        """Compile the blocks of the UNet and the Pose ControlNet on their device, each kind when it is first called.

        Raises InputError if there is no compiler.
        """
        check_compiler(self.unet.device)
        for network in (self.unet, self.pose):
            if network is not None:
                compile_blocks(network)

    @property
    def unet(self) -> UNet2DConditionModel:
        return self.components.unet

    @property
    def vae(self) -> AutoencoderKL:
        return self.components.vae

    @property
    def appearance(self) -> AppearanceControlModel | None:
        return self.components.appearance

    @property
    def pose(self) -> PoseControlNet | None:
        return self.components.pose

    @property
    def motion(self) -> MotionModule | None:
        """The motion module; None for independent frames."""
        return self.components.motion

    @motion.setter
    def motion(self, motion: MotionModule | None) -> None:
        if motion is not None:
            check_motion_fits(self.unet, self.vae, motion)
        self.components.motion = motion

    @contextmanager
    def without_motion(self) -> Iterator[None]:
        """Sample independent frames within the block."""
        motion, self.motion = self.motion, None
        try:
            yield
        finally:
            self.motion = motion

    @property
    def device(self) -> torch.device:
        """Where the UNet computes."""
        return self.unet.device if self._placement is None else self._placement.unet[0]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the UNet computes in."""
        return self.unet.dtype

    @property
    def defaults(self) -> dict:
        return self.components.defaults

    @property
    def factor(self) -> int:
        """Side of a picture divided by the side of its latent: 8 as published."""
        return vae_scale_factor(self.vae)

    @property
    def scheduler(self) -> SchedulerMixin:
        """One of `checkpoints.SUPPORTED_SCHEDULERS`, for the model's prediction type; by default DDIM as published."""
        return self.components.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: SchedulerMixin) -> None:
        if not is_supported(scheduler):
            raise InputError(
                f"{type(scheduler).__name__} is not for models of Stable Diffusion 1.5, such as this one: give one of "
                f"{', '.join(SUPPORTED_SCHEDULERS)}."
            )
        prediction_type = scheduler.config.get("prediction_type", self._prediction_type)
        if prediction_type != self._prediction_type:
            raise InputError(
                f"The model makes a {self._prediction_type} prediction and the scheduler expects {prediction_type}: "
                "build it with from_config(pipe.scheduler.config)."
            )
        self.components.scheduler = scheduler

    def set_progress_bar_config(self, **kwargs) -> None:
        """Set options of the progress bar, as for diffusers' pipelines: `disable=True` hides it."""
        self._progress_bar_config = kwargs

    @torch.no_grad()
    def __call__(
        self,
        reference: Reference | None,
        poses: list[Image.Image] | Tensor | None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        control_mode: str | None = None,
        latents: Tensor | None = None,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        *,
        frames: int | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        settings: SamplingSettings | None = None,
        background: Background | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> MagicDanceOutput:
        """Generate one frame for each pose map, of the person in the reference.

        Either control works alone: without a reference the prompt decides who is seen, without poses the person stands
        as it likes, in `frames` frames (1 by default) of the reference's size. A control that the model lacks is not
        used; its pose maps still give the frames' number and size.

        reference: PIL image, or float tensor `[3, H, W]` or `[1, 3, H, W]` in [0, 1]; several pictures of the person as
        a list or `[R, 3, H, W]`; the result of `encode_reference`; or for several people a list of `Region`. poses:
        list of PIL images, or float tensor `[F, 3, H, W]` in [0, 1]; the frames take their size, the reference may have
        another. All sides are multiples of `factor`.
        num_inference_steps, guidance_scale, control_mode: override those of `settings`; None for the model's defaults
        (50, 7.0 and "controlnet_important" as published).
        latents: initial noise `[1, 4, h, w]` for all frames, or `[F, 4, h, w]`; by default drawn with `generator` (on
        the CPU for the same frames everywhere).
        output_type: "pil" list of images, "pt" `[F, 3, H, W]` in [0, 1], "np" `[F, H, W, 3]`, "latent"
        `[F, 4, h, w]` scaled, float32; tensors on the CPU.
        prompt_embeds, negative_prompt_embeds: prompts `[1, n, C]`; by default the empty prompt, and as negative prompt
        with a reference in "controlnet_important" the positive one.
        settings: everything else, see `SamplingSettings`.
        background: what the frames show outside of a mask, see `Background`; "latent" output has it unblended.
        callback: called with a `Progress` after each batch; an exception raised there cancels the run.

        The reference's latent is the mode of the VAE's posterior; the published code samples it.
        Raises InputError for what cannot be used, before any network runs.
        """
        if output_type not in OUTPUT_TYPES:
            raise InputError(f"The output type {output_type!r} is unknown: use one of {', '.join(OUTPUT_TYPES)}.")
        check_type(callback, "callback", Callable | None)
        model = self._attached(reference, poses)
        if poses is None:
            pose_maps = _blank(reference, self.factor).expand(
                number(int, 1 if frames is None else frames, "frames", 1), -1, -1, -1
            )
        else:
            pose_maps = to_images(poses, "The pose sequence", self.factor)
            if frames not in (None, len(pose_maps)):
                raise InputError(f"frames is {frames} and there are {len(pose_maps)} poses: leave frames out.")
        settings, inputs = prepare(
            model,
            _override(settings, num_inference_steps, guidance_scale, control_mode),
            reference,
            pose_maps,
            len(pose_maps),
            latents=latents,
            generator=generator,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            background=background,
        )
        with tqdm(total=settings.steps * len(pose_maps), **self._progress_bar_config) as bar:

            def report(progress: Progress) -> None:
                bar.update(len(progress.numbers))
                if callback is not None:
                    callback(progress)

            sample = run(model, settings, inputs, pose_maps, placement=self._placement, callback=report)
        return MagicDanceOutput(_output(sample, output_type))

    def stream(
        self,
        reference: Reference | None,
        poses: Iterable[Image.Image] | None,
        frames: int,
        *,
        generator: torch.Generator | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        settings: SamplingSettings | None = None,
        background: Background | None = None,
        first: int = 0,
        end: int | None = None,
        state: dict[str, Tensor] | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> Iterator[FrameChunk]:
        """Generate a video of any length in the memory of a short one; frames are yielded as they are ready.

        poses: pose maps, read one after the other when they are needed; frames: how many of them, or without poses how
        many to make. first: frame to start at, the first of a batch; end: to end before, the last of a batch + 1,
        None for all; without a motion module only.
        state: of an earlier `FrameChunk` of the same run, to continue after it to the same pixels, with schedulers that
        take each step independently, like DDIM, and `generator` as at the beginning of the run. Others: see
        `__call__`.
        Raises InputError for what cannot be used, as soon as it is known.
        """
        check_type(callback, "callback", Callable | None)
        model = self._attached(reference, poses)
        maps: Iterator[Tensor]
        if poses is None:
            maps = repeat(_blank(reference, self.factor), frames)
        else:
            maps = (to_images(pose, "The pose sequence", self.factor) for pose in islice(poses, frames))
        head = next(maps, None)
        if head is None:
            raise InputError("The pose sequence is empty: give at least one pose.")
        settings, inputs = prepare(
            model,
            settings or SamplingSettings(),
            reference,
            head,
            frames,
            generator=generator,
            prompt_embeds=prompt_embeds,
            negative_prompt_embeds=negative_prompt_embeds,
            background=background,
        )
        yield from stream(
            model,
            settings,
            inputs,
            chain([head], maps),
            first=first,
            end=end,
            state=state,
            placement=self._placement,
            callback=callback,
        )

    @torch.no_grad()
    def refine_faces(
        self,
        frames: list[Image.Image] | Tensor,
        keypoints: "Sequence[PoseFrame]",
        reference: Image.Image,
        reference_keypoints: "PoseFrame",
        strength: float = FACE_PASS_STRENGTH,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
        *,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        settings: SamplingSettings | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> MagicDanceOutput:
        """Sample the faces in frames again, enlarged, with pose maps drawn for them, and blend them into the frames.

        frames: a video, as `poses` of `__call__`, of any size. keypoints: of each frame; reference_keypoints: of the
        reference, which is best of a higher resolution than the frames. Canvases of any size.
        strength: part of the denoising that is done again, from more than 0 (hardly anything) to 1 (from noise).
        generator, settings, prompt_embeds, negative_prompt_embeds: of the run that made the frames. output_type: "pil",
        "pt" or "np". callback: see `__call__`. Several people are refined one after the other.
        Raises InputError for what cannot be used, and if the reference or no frame shows a face.
        """
        from .sampling.face_pass import face_settings, find_faces, refine_faces  # OpenCV takes time to import

        if output_type not in OUTPUT_TYPES[:-1]:
            raise InputError(f"The output type {output_type!r} is unknown: use one of {', '.join(OUTPUT_TYPES[:-1])}.")
        pictures = to_images(frames, "The video", 1)
        if len(keypoints) != len(pictures):
            raise InputError(f"There are keypoints of {len(keypoints)} frames for {len(pictures)}: give one of each.")
        settings = face_settings((settings or SamplingSettings()).resolve(self.defaults), strength)
        size, (height, width) = self.defaults["sample_size"], pictures.shape[2:]
        people = find_faces(keypoints, width, height, reference, reference_keypoints, size)
        model, placement = self.face_model()
        seed = None if generator is None else generator.get_state()
        for faces in people:
            if generator is not None and seed is not None:
                generator.set_state(seed)
            refined = refine_faces(
                model, settings, pictures, faces, generator=generator, prompt_embeds=prompt_embeds,
                negative_prompt_embeds=negative_prompt_embeds, placement=placement, callback=callback,
            )  # fmt: skip
            pictures = torch.cat([part.pictures for part in refined])
        return MagicDanceOutput(_output(Sample(pictures, iter([pictures])), output_type))

    def _attached(self, reference: object, poses: object) -> Components:
        """Return the model with the controls that have an input. Raises InputError if there is none."""
        if reference is None and poses is None:
            raise InputError("There is neither a reference nor a pose: give one of them, or both.")
        model = self.components
        model = replace(model, appearance=None) if reference is None else model
        return replace(model, pose=None) if poses is None else model

    def encode_reference(self, reference: Image.Image | list[Image.Image] | Tensor) -> EncodedReference:
        """Encode a reference for several calls: the Appearance Control Model reads it once for each step of all calls.

        Valid for this model on its present device.
        """
        images, placement = to_images(reference, "The reference", self.factor), self._placement
        if placement is None:
            return EncodedReference(encode_images(self.vae, images))
        placement.load(Phase(("vae",), len(images), *images.shape[-2:]))
        return EncodedReference(encode_images(self.vae, images, *placement.vae))


def _override(
    settings: SamplingSettings | None, steps: int | None, guidance_scale: float | None, control_mode: str | None
) -> SamplingSettings:
    check_type(settings, "settings", SamplingSettings | None)
    settings = settings or SamplingSettings()
    return replace(
        settings,
        num_inference_steps=settings.num_inference_steps if steps is None else steps,
        guidance_scale=settings.guidance_scale if guidance_scale is None else guidance_scale,
        control_mode=settings.control_mode if control_mode is None else control_mode,
    )


def _offloading(model: Components, device: torch.device) -> Placement:
    """Return a placement that moves the networks of each phase to a device, the others to the CPU."""

    def load(phase: Phase) -> None:
        for role, network in model.networks().items():
            if ROLES[role].samples:
                torch.nn.Module.to(network, device if role in phase.roles else "cpu")

    return Placement((device, model.unet.dtype), (device, model.vae.dtype), load)


def _blank(reference: Reference | None, factor: int) -> Tensor:
    """Return an empty pose map `[1, 3, H, W]` of a reference's size."""
    if isinstance(reference, (list, tuple)) and reference and isinstance(reference[0], Region):
        return _blank(reference[0].reference, factor)
    if isinstance(reference, EncodedReference):
        height, width = (side * factor for side in reference.latents.shape[-2:])
    else:
        height, width = to_images(reference, "The reference", factor).shape[-2:]
    return torch.zeros(1, 3, height, width)


def _output(sample: Sample, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
    if output_type == "latent":
        return sample.latents.cpu()
    if output_type == "pil":
        return [image for frames in sample.frames for image in to_pil(frames)]
    frames = torch.cat(list(sample.frames))
    return frames if output_type == "pt" else frames.permute(0, 2, 3, 1).numpy()
