"""Node that samples the frames of a video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..magicdance_core.choices import CONTROL_MODES, DEFAULT, PRESETS, SCHEDULERS
from .comfy import memory, messages, progress
from .link_types import CONTEXT_TYPE, MODEL_TYPE, SPEED_TYPE, ContextOptions, MagicDanceModel
from .pose_map_checks import check_pose_maps, size_remarks
from .socket_values import check_reference_count, in_own_shape, on_white, stretch, to_embeddings, to_pictures
from .widgets import MODEL_DEFAULT, choice, integer, number, seed, socket

if TYPE_CHECKING:
    from torch import Tensor


class MagicDanceSample:
    """Sample the frames of a video."""

    SEARCH_ALIASES = [
        "magicdance",
        "magicpose",
        "sampler",
        "animate",
        "photo to video",
        "pose transfer",
        "video",
        "dance",
    ]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Generates one frame for each pose map, showing the person in the reference. The frames have the size of the "
        "pose maps, rounded to multiples of 8 pixels; the reference keeps its aspect ratio and is resized to as many "
        "pixels."
    )
    RETURN_TYPES = ("IMAGE", "LATENT")
    RETURN_NAMES = ("frames", "latent")
    OUTPUT_TOOLTIPS = ("The frames of the video.", "The latents of the frames, for VAE Decode or another sampler.")
    FUNCTION = "sample"

    def __init__(self) -> None:
        self._remarks = messages.Remarks(type(self).__name__)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket(MODEL_TYPE, "A model with an Appearance Control Model and a Pose ControlNet."),
                "reference": socket("IMAGE", "A picture of the person; several pictures in a batch add up."),
                "poses": socket("IMAGE", "Pose maps, one for each frame: OpenPose drawings of body, hands and face."),
                "seed": seed("Seed of the initial noise."),
                "steps": integer(0, 0, 999, f"Number of denoising steps. {MODEL_DEFAULT}"),
                "cfg": number(
                    0.0,
                    0.0,
                    30.0,
                    f"Classifier-free guidance scale. 1: no guidance, half the work. {MODEL_DEFAULT}",
                    0.1,
                    round=0.01,
                ),
                "sampler_name": choice(
                    list(SCHEDULERS), "The sampler. default: the model's default (published: ddim)."
                ),
                "control_mode": choice(
                    CONTROL_MODES,
                    "controlnet_important: the controls act on the conditional prediction only, as published. balance: "
                    "they act on the conditional and the unconditional prediction, so that cfg strengthens the prompt.",
                ),
                "preset": choice(
                    PRESETS,
                    "exact: as published. fast, preview: less work at a slightly lower quality; they set steps and "
                    "sampler_name where these are left at their defaults.",
                ),
                "frames_per_batch": integer(
                    8,
                    1,
                    256,
                    "Number of frames in a batch of the UNet. Smaller: less memory, the same result.",
                    advanced=True,
                ),
                "decode_chunk_size": integer(
                    4,
                    1,
                    256,
                    "Number of frames that the VAE decodes at a time. Smaller: less memory, the same result.",
                    advanced=True,
                ),
            },
            "optional": {
                "positive": socket(
                    "CONDITIONING", "A prompt from CLIP Text Encode. Without it, the empty prompt, as published."
                ),
                "negative": socket(
                    "CONDITIONING",
                    "Prompt of the unconditional prediction. Without it: the positive prompt with "
                    "controlnet_important, the empty prompt with balance.",
                ),
                "context_options": socket(
                    CONTEXT_TYPE,
                    "Context windows of a motion module, from Context Options. Without it: 16 frames, 4 of them shared "
                    "with the next window.",
                ),
                "speed_options": socket(
                    SPEED_TYPE, "What is left out for speed, from Speed Options. Replaces the preset's choice."
                ),
                "reference_mask": socket(
                    "MASK", "Transparent parts of the reference, from Load Image; they become white. Optional."
                ),
            },
        }

    def sample(
        self,
        model,
        reference,
        poses,
        seed,
        steps,
        cfg,
        sampler_name,
        control_mode,
        preset,
        frames_per_batch,
        decode_chunk_size,
        positive=None,
        negative=None,
        context_options=None,
        speed_options=None,
        reference_mask=None,
    ):
        import torch

        from ..magicdance_core.models import vae_scale_factor
        from ..magicdance_core.puppets.domain_check import domain_warnings
        from ..magicdance_core.sampling import PRESETS, Control, SamplingSettings, Windows, prepare, run
        from ..magicdance_core.schedule import named_scheduler

        _require_controls(model)
        context = (context_options or ContextOptions()).seeded(seed)
        prompts = [
            None if prompt is None else _prompt(model, prompt, name)
            for name, prompt in (("positive", positive), ("negative", negative))
        ]
        chosen = PRESETS[preset]
        sampler_name = chosen.scheduler if sampler_name == DEFAULT else sampler_name
        components = memory.components(
            model, named_scheduler(sampler_name, model.scheduler, context.beta_schedule), prompts[0]
        )
        settings = SamplingSettings(
            num_inference_steps=steps or chosen.count(model.defaults["num_inference_steps"]),
            guidance_scale=cfg or None,
            control_mode=control_mode,
            appearance_control=model.appearance_control or Control(),
            pose_control=model.pose_control or Control(),
            motion_control=model.motion_control or Control(),
            motion_in_uncond=context.motion_in_uncond,
            shortcuts=speed_options or chosen.shortcuts,
            windows=context.windows,
            noise=context.noise,
            frames_per_batch=frames_per_batch,
            decode_chunk_size=decode_chunk_size,
            quick=context.quick,
        )
        if reference_mask is not None:
            reference = on_white(reference, reference_mask)
        reference, poses = _fit_sizes(reference, poses, vae_scale_factor(components.vae))
        check_pose_maps(poses, "poses")
        sentences = size_remarks(poses, model.defaults["sample_size"])
        sentences += domain_warnings(reference, poses) if model.puppets_only else []
        if model.motion is None and context.windows not in (None, Windows()):
            sentences.append(
                "Put Apply Motion Module before this node: without a motion module, context windows have no effect."
            )
        self._remarks.show(sentences)
        count, (height, width) = len(poses), poses.shape[2:]
        settings, inputs = prepare(
            components,
            settings,
            reference,
            poses,
            count,
            generator=torch.Generator().manual_seed(seed),
            prompt_embeds=prompts[0],
            negative_prompt_embeds=prompts[1],
        )
        forecast = progress.Forecast(count, (width, height))

        def denoised(step) -> None:
            run_progress.denoised(step.fraction, step.numbers, step.denoised)
            if sentence := forecast.after(step.fraction):
                self._remarks.add(sentence)

        with (
            progress.interruptible(*components.networks().values()),
            progress.RunProgress(model, count, settings.steps) as run_progress,
        ):
            sample = run(
                components,
                settings,
                inputs,
                poses,
                placement=memory.placement(model),
                callback=denoised,
            )
            frames, done = torch.empty(count, height, width, 3), 0
            for part in sample.frames:
                frames[done : done + len(part)] = part.movedim(1, -1)
                run_progress.decoded(done, part)
                done += len(part)
        samples = memory.output(sample.latents.cpu() / components.vae.config.scaling_factor)
        return memory.output(frames), {"samples": samples}


def _require_controls(model: MagicDanceModel) -> None:
    from ..magicdance_core.checkpoints import ROLES
    from ..magicdance_core.errors import InputError

    for role, node in (("appearance", "Apply Appearance"), ("pose", "Apply Pose")):
        if getattr(model, role) is None:
            raise InputError(f"The model has no {ROLES[role].title}: put {node} between the model and this node.")


def _prompt(model: MagicDanceModel, conditioning, name: str) -> Tensor:
    """Return the embeddings `[1, n, C]` of a prompt. Raises InputError if the model takes no prompts."""
    from ..magicdance_core.errors import InputError

    if not model.takes_prompts:
        raise InputError(f"`{name}` is connected, but this model takes no prompts: disconnect it.")
    width = memory.network(model.unet).config.cross_attention_dim
    return to_embeddings(conditioning, width, name).float()


def _fit_sizes(reference: Tensor, poses: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the reference and the pose maps as `[n, 3, H, W]` in [0, 1], with sides that are multiples of `factor`.

    Pose maps keep their size up to rounding; the reference keeps its aspect ratio and gets as many pixels.
    """
    reference, poses = to_pictures(reference, "reference"), to_pictures(poses, "poses")
    check_reference_count(len(reference), "reference")
    height, width = (max(factor, round(side / factor) * factor) for side in poses.shape[2:])
    return in_own_shape(reference, width * height, factor, "reference"), stretch(poses, width, height)
