"""Sampling: from a model, a reference and pose maps to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..magicdance_core.choices import CONTROL_MODES, DEFAULT, PRESETS, SCHEDULERS
from .comfy import memory, progress
from .control_inputs import MAX_REFERENCES
from .model import CONTEXT_TYPE, SPEED_TYPE, TYPE, ContextOptions, MagicDanceModel
from .pictures import in_own_shape, stretch, to_pictures

if TYPE_CHECKING:
    from torch import Tensor


class MagicDanceSample:
    """Sample video frames."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "sampler", "animate", "pose transfer", "video", "dance"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Makes one frame a pose map, of the person in the reference. The poses' size is the video's (rounded to what "
        "the model can do); the reference keeps its own shape, resized to as many pixels. 0 steps and 0 guidance "
        "stand for the model's own values."
    )
    RETURN_TYPES = ("IMAGE", "LATENT")
    RETURN_NAMES = ("frames", "latent")
    OUTPUT_TOOLTIPS = ("The frames of the video.", "The frames' latents, for VAE Decode or another sampler.")
    FUNCTION = "sample"

    def __init__(self):
        self._remarks = progress.Remarks()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": (TYPE, {"tooltip": "A model with Appearance Control and a Pose ControlNet."}),
                "reference": ("IMAGE", {"tooltip": "A picture of the person, or several of one person in one batch."}),
                "poses": ("IMAGE", {"tooltip": "Pose maps, one a frame: OpenPose drawings with body, hands and face."}),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 0xFFFFFFFFFFFFFFFF,
                        "control_after_generate": True,
                        "tooltip": "Of the noise that all frames start from.",
                    },
                ),
                "steps": (
                    "INT",
                    {"default": 0, "min": 0, "max": 999, "tooltip": "Denoising steps. 0: the model's default."},
                ),
                "cfg": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        "min": 0.0,
                        "max": 30.0,
                        "step": 0.1,
                        "round": 0.01,
                        "tooltip": "Classifier-free guidance scale. 1: no guidance, half the work. 0: the model's "
                        "default.",
                    },
                ),
                "sampler_name": (
                    list(SCHEDULERS),
                    {"default": DEFAULT, "tooltip": "The sampler. default: the model's default (published: ddim)."},
                ),
                "control_mode": (
                    list(CONTROL_MODES),
                    {
                        "default": CONTROL_MODES[0],
                        "tooltip": "controlnet_important (published): guidance leads away from the model without "
                        "controls. balance: it leads away from the negative prompt, with controls in both halves.",
                    },
                ),
                "preset": (
                    list(PRESETS),
                    {
                        "default": PRESETS[0],
                        "tooltip": "exact: as published. fast and preview: less work and a little less quality; they "
                        "set steps and sampler_name where these are left at the default.",
                    },
                ),
                "frames_per_batch": (
                    "INT",
                    {
                        "default": 8,
                        "min": 1,
                        "max": 256,
                        "advanced": True,
                        "tooltip": "Frames that the UNet takes at once. Smaller: less memory, the same result.",
                    },
                ),
                "decode_chunk_size": (
                    "INT",
                    {
                        "default": 4,
                        "min": 1,
                        "max": 256,
                        "advanced": True,
                        "tooltip": "Frames that the VAE decodes at once. Smaller: less memory, the same result.",
                    },
                ),
            },
            "optional": {
                "positive": (
                    "CONDITIONING",
                    {"tooltip": "A prompt from CLIP Text Encode; without it the empty prompt, as published."},
                ),
                "negative": (
                    "CONDITIONING",
                    {"tooltip": "What guidance leads away from, beside the missing controls; seldom needed."},
                ),
                "context_options": (
                    CONTEXT_TYPE,
                    {"tooltip": "Which frames a motion module sees together; by default 16, 4 shared with the next."},
                ),
                "speed_options": (
                    SPEED_TYPE,
                    {"tooltip": "What is left out for speed, instead of the preset's choice; from Speed Options."},
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
    ):
        import torch

        from ..magicdance_core.models import Networks, vae_scale_factor
        from ..magicdance_core.puppets.domain_check import domain_warnings
        from ..magicdance_core.sampling import Control, Windows, get_noise, presets, run
        from ..magicdance_core.sampling.denoise import windows_for
        from ..magicdance_core.sampling.noise import make_noise
        from ..magicdance_core.schedule import named_scheduler

        _require_controls(model)
        context, uncond_context = _contexts(model, positive, negative, control_mode)
        chosen = presets.PRESETS[preset]
        steps = steps or chosen.count(model.defaults["num_inference_steps"])
        sampler_name = chosen.scheduler if sampler_name == DEFAULT else sampler_name
        cfg = cfg or model.defaults["guidance_scale"]
        vae, unet, *controls = (memory.network(held) for held in (model.vae, model.unet, model.appearance, model.pose))
        motion = None if model.motion is None else memory.network(model.motion)
        asked = (context_options or ContextOptions()).seeded(seed)
        kind = asked.noise or ("shared" if motion is None else motion.config.noise)
        factor = vae_scale_factor(vae)
        reference, poses = _fitted(reference, poses, factor)
        sentences = domain_warnings(reference, poses) if model.puppets_only else []
        if motion is None and asked.windows not in (None, Windows()):
            sentences.append("The model has no motion module, so no windows: put Apply Motion Module before this node.")
        self._remarks.show(sentences)
        count, (height, width) = len(poses), poses.shape[2:]
        generator = torch.Generator().manual_seed(seed)
        shape = (1, unet.config.in_channels, height // factor, width // factor)
        networks = Networks(unet, *controls, motion=motion)
        at_once = min(windows_for(networks, count, asked.windows, frames_per_batch).length, count)
        with (
            progress.interruptible(vae, unet, *controls, motion),
            progress.RunProgress(model, count, steps) as run_progress,
        ):
            sample = run(
                networks,
                vae,
                named_scheduler(sampler_name, model.scheduler, asked.beta_schedule),
                reference,
                poses,
                make_noise(kind, get_noise(shape, generator), asked.windows, generator),
                context,
                num_inference_steps=steps,
                guidance_scale=cfg,
                uncond_context=uncond_context,
                control_mode=control_mode,
                appearance=model.appearance_control or Control(),
                pose=model.pose_control or Control(),
                motion=model.motion_control or Control(),
                motion_in_uncond=asked.motion_in_uncond,
                shortcuts=speed_options or chosen.shortcuts,
                one_pass=memory.fits_both_halves(model, at_once, shape),
                windows=asked.windows,
                quick=asked.quick,
                frames_per_batch=frames_per_batch,
                decode_batch=decode_chunk_size,
                place=memory.place(model.unet),
                vae_place=memory.place(model.vae),
                before=lambda phase: memory.load_phase(model, phase),
                generator=generator,
                callback=lambda p: run_progress.denoised(p.fraction, p.numbers, p.denoised),
            )
            frames, done = torch.empty(count, height, width, 3), 0
            for part in sample.frames:
                frames[done : done + len(part)] = part.movedim(1, -1)
                run_progress.decoded(done, part)
                done += len(part)
        samples = memory.output(sample.latents.cpu() / vae.config.scaling_factor)
        return memory.output(frames), {"samples": samples}


def _require_controls(model: MagicDanceModel) -> None:
    from ..magicdance_core.checkpoints import ROLES
    from ..magicdance_core.errors import InputError

    for role, node in (("appearance", "Apply Appearance"), ("pose", "Apply Pose")):
        if getattr(model, role) is None:
            raise InputError(f"The model has no {ROLES[role].title}: put {node} between the model and this node.")


def _contexts(model: MagicDanceModel, positive, negative, control_mode: str) -> tuple[Tensor, Tensor]:
    """Contexts of both branches of guidance; without a negative prompt as `MagicDancePipeline` has them."""
    from ..magicdance_core.errors import InputError

    context = model.context if positive is None else _prompt(model, positive, "positive")
    if context is None:
        raise InputError("The model has no text: connect a prompt to `positive`, or CLIP to MagicDance from MODEL.")
    if negative is not None:
        return context, _prompt(model, negative, "negative")
    plain = context if model.context is None else model.context
    return context, plain if control_mode == "balance" else context


def _prompt(model: MagicDanceModel, conditioning, what: str) -> Tensor:
    from ..magicdance_core.errors import InputError

    if not model.knows_text:
        raise InputError(f"This model knows no text: disconnect `{what}`.")
    if len(conditioning) != 1:
        raise InputError(f"`{what}` holds {len(conditioning)} prompts: join them with Conditioning (Concat).")
    context, width = conditioning[0][0], memory.network(model.unet).config.cross_attention_dim
    if context.dim() != 3 or context.shape[-1] != width:
        raise InputError(f"`{what}` was written with another model's CLIP: use the CLIP of Stable Diffusion 1.5.")
    return context[:1].float()


def _fitted(reference: Tensor, poses: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Pose maps `[n, 3, H, W]` in the video's size, theirs to the next multiple of `factor`; the reference in its own
    shape with as many pixels."""
    from ..magicdance_core.errors import InputError

    reference, poses = to_pictures(reference, "reference"), to_pictures(poses, "poses")
    if len(reference) > MAX_REFERENCES:
        raise InputError(
            f"reference holds {len(reference)} pictures: connect 1 to {MAX_REFERENCES} pictures of one person."
        )
    height, width = (max(factor, round(side / factor) * factor) for side in poses.shape[2:])
    return in_own_shape(reference, width * height, factor, "reference"), stretch(poses, width, height)
