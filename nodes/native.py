"""The controls for ComfyUI's own MODEL, which then dances in KSampler and in every other sampler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..magicdance_core.choices import CONTROL_MODES
from .comfy import conversion, folders
from .control_inputs import MAX_REFERENCES, is_there, loader, strength_and_range
from .last_result import LastResult, Same
from .pictures import to_pictures

if TYPE_CHECKING:
    from torch import Tensor

APPEARANCE = "MAGICDANCE_APPEARANCE"
CATEGORY = "MagicDance/MODEL"


class MagicDanceLoadPublishedAsModel:
    """Backbone of a MagicDance checkpoint as MODEL, CLIP and VAE."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "model_state", "load checkpoint", "ksampler"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads the backbone of a MagicDance checkpoint as ComfyUI's own MODEL, CLIP and VAE. Any other Stable "
        "Diffusion 1.5 checkpoint serves as well, with Load Checkpoint."
    )
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    RETURN_NAMES = ("model", "clip", "vae")
    OUTPUT_TOOLTIPS = ("For Apply Appearance to MODEL.", "For CLIP Text Encode.", "For VAE Encode and VAE Decode.")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"checkpoint": _files()}}

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint):
        return is_there(checkpoint, folders.FOLDER)

    def load(self, checkpoint):
        from ..magicdance_core.checkpoints import ROLES

        tensors = _read(checkpoint, ["unet", "vae", "text_encoder"])
        return conversion.to_checkpoint(
            {ROLES[role].prefix + name: tensor for role, part in tensors.items() for name, tensor in part.items()}
        )


class MagicDanceLoadPoseControlNet:
    """Pose ControlNet of a MagicDance checkpoint as CONTROL_NET."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "controlnet", "openpose", "load controlnet"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads the Pose ControlNet of a MagicDance checkpoint as ComfyUI's own CONTROL_NET, for Apply ControlNet on "
        "the positive prompt. Any OpenPose ControlNet for Stable Diffusion 1.5 serves as well, with Load ControlNet "
        "Model."
    )
    RETURN_TYPES = ("CONTROL_NET",)
    RETURN_NAMES = ("control_net",)
    OUTPUT_TOOLTIPS = ("For Apply ControlNet; as published on the positive prompt only.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"checkpoint": _files()}}

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint):
        return is_there(checkpoint, folders.FOLDER)

    def load(self, checkpoint):
        return (conversion.to_control_net(_read(checkpoint, ["pose"])["pose"]),)


class MagicDanceLoadAppearance:
    """Appearance Control Model of a MagicDance checkpoint."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "appearance control", "reference"]
    CATEGORY = CATEGORY
    DESCRIPTION = "Loads the Appearance Control Model of a MagicDance checkpoint, for Apply Appearance to MODEL."
    RETURN_TYPES = (APPEARANCE,)
    RETURN_NAMES = ("appearance",)
    OUTPUT_TOOLTIPS = ("One network for as many Apply Appearance to MODEL as there are people.",)
    FUNCTION = "load"

    def __init__(self):
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "A MagicDance checkpoint in models/magicdance; only this part of it is read."
        return {"required": {"checkpoint": (folders.list_magicdance(), {"tooltip": tooltip})}}

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint):
        return is_there(checkpoint, folders.FOLDER)

    def load(self, checkpoint):
        return (self._network(*loader(checkpoint, "appearance", folders.FOLDER)),)


class MagicDanceApplyAppearanceToModel:
    """Patch a MODEL so that it looks at a reference."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "appearance control", "reference only", "ksampler", "identity"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Makes ComfyUI's own MODEL paint the person in the reference, with KSampler or any other sampler, beside "
        "LoRAs, ControlNets, IP-Adapter, AnimateDiff and the like. Several of these nodes in a row add up; with "
        "masks, each part of the picture looks at a person of its own."
    )
    RETURN_TYPES = ("MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("A patched clone; the MODEL that came in stays as it is.",)
    FUNCTION = "apply"

    def __init__(self):
        self._latents = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "Made from Stable Diffusion 1.5, with whatever is applied to it."}),
                "appearance": (APPEARANCE, {"tooltip": "From Load Appearance."}),
                **strength_and_range(
                    "Weight of the reference: 1 as published, 0 exactly no control, above 1 stronger.",
                    "From which part of the noise schedule on it acts, as in Apply ControlNet: 0 is pure noise.",
                    "Up to which part of the noise schedule it acts: 1 is the clean picture.",
                ),
                "control_mode": (
                    list(CONTROL_MODES),
                    {
                        "default": CONTROL_MODES[0],
                        "tooltip": "controlnet_important (published): only the positive branch of guidance sees the "
                        "reference. balance: both branches see it.",
                    },
                ),
            },
            "optional": {
                "reference": (
                    "LATENT",
                    {"tooltip": "The person through VAE Encode, best in the frames' size; several in a batch add up."},
                ),
                "image": (
                    "IMAGE",
                    {"tooltip": "The person, in place of `reference`; with `vae`. Several in a batch add up."},
                ),
                "vae": ("VAE", {"tooltip": "Of Stable Diffusion 1.5; encodes `image`."}),
                "mask": (
                    "MASK",
                    {
                        "tooltip": "Which part of the frames looks at this reference, one for all frames or one for "
                        "each; without it all of them."
                    },
                ),
                "text": (
                    "CONDITIONING",
                    {
                        "tooltip": "What the Appearance Control Model reads beside the reference; without it what the "
                        "sampler's prompt says, as published."
                    },
                ),
            },
        }

    def apply(
        self,
        model,
        appearance,
        strength,
        start,
        end,
        control_mode,
        reference=None,
        image=None,
        vae=None,
        mask=None,
        text=None,
    ):
        from ..magicdance_core.sampling import Control
        from .comfy import model_patch

        control = Control(strength, start, end)
        model_patch.check_fit(model, appearance)
        if reference is None:
            reference = self._encoded(image, vae)
        elif image is not None:
            from ..magicdance_core.errors import InputError

            raise InputError("`reference` and `image` are both connected: disconnect one of them.")
        source = model_patch.Source(
            network=appearance,
            latents=model.model.process_latent_in(_checked_latents(reference)),
            control=control,
            balance=control_mode == "balance",
            mask=_checked_mask(mask),
            text=None if text is None else _checked_text(text, model_patch.text_width(appearance)),
        )
        return (model_patch.apply_source(model, source) if strength else model.clone(),)

    def _encoded(self, image, vae) -> dict:
        from ..magicdance_core.errors import InputError

        if image is None or vae is None:
            raise InputError("There is no person: connect `reference`, or `image` and `vae`.")
        pictures = to_pictures(image, "image")
        _check_count(len(pictures))
        return self._latents((Same(image), Same(vae)), lambda: {"samples": vae.encode(pictures.movedim(1, -1))})


class MagicDanceEmptyFrames:
    """Empty latents, one a pose map, with one noise for all."""

    SEARCH_ALIASES = ["magicdance", "empty latent", "same noise", "batch", "frames"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Makes an empty latent a pose map, for KSampler. As published all frames start from one noise, which keeps "
        "still what the poses do not change; a motion module wants one of its own for each frame."
    )
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("For KSampler, as many as there are pose maps and in their size.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "poses": ("IMAGE", {"tooltip": "The pose maps, one a frame; sides are cut to multiples of 8."}),
                "one_noise": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Whether all frames start from the same noise (published)."},
                ),
            }
        }

    def make(self, poses, one_noise):
        import torch

        from ..magicdance_core.errors import InputError

        if poses.dim() != 4 or len(poses) == 0 or min(poses.shape[1:3]) < 8:
            raise InputError("`poses` is no IMAGE with sides of at least 8 pixels: connect pose maps.")
        frames, height, width, _ = poses.shape
        latent = {"samples": torch.zeros(frames, 4, height // 8, width // 8)}
        if one_noise:
            latent["batch_index"] = [0] * frames  # ComfyUI draws the noise of each index once
        return (latent,)


def _files() -> tuple:
    return folders.list_magicdance_files(), {
        "tooltip": "A MagicDance checkpoint (.th, .safetensors, .ckpt, .pth) in models/magicdance; only the parts that "
        "this node gives are read."
    }


def _read(checkpoint: str, roles: list[str]) -> dict[str, dict[str, Tensor]]:
    from ..magicdance_core.checkpoints import read_tensors
    from ..magicdance_core.errors import InputError

    path = folders.find_model(checkpoint, folders.FOLDER)
    if path is None:
        raise InputError(f"{checkpoint} is not in models/magicdance any more: choose another checkpoint.")
    return read_tensors(path, roles)


def _checked_latents(latent: dict) -> Tensor:
    """The samples of a LATENT, `[R, 4, h, w]`, float32 on the CPU."""
    import torch

    from ..magicdance_core.errors import InputError

    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, torch.Tensor) or samples.dim() != 4 or samples.shape[1] != 4 or 0 in samples.shape:
        raise InputError(
            "The reference does not come from the VAE of Stable Diffusion 1.5, whose latents have 4 channels: "
            "encode the picture with that VAE."
        )
    _check_count(len(samples))
    samples = samples.to("cpu", torch.float32)
    if not samples.isfinite().all():
        raise InputError("The reference contains values that are not numbers: look at the node that makes it.")
    return samples


def _check_count(references: int) -> None:
    from ..magicdance_core.errors import InputError

    if references > MAX_REFERENCES:
        raise InputError(f"There are {references} references: connect 1 to {MAX_REFERENCES} pictures of one person.")


def _checked_mask(mask: Tensor | None) -> Tensor | None:
    """A MASK as `[1 or F, H, W]` in [0, 1], float32 on the CPU."""
    import torch

    from ..magicdance_core.errors import InputError

    if mask is None:
        return None
    if mask.dim() not in (2, 3) or 0 in mask.shape:
        raise InputError("`mask` is no MASK: connect an output of type MASK.")
    mask = mask.to("cpu", torch.float32).reshape(-1, *mask.shape[-2:]).clamp(0, 1)
    if not mask.isfinite().all():
        raise InputError("`mask` contains values that are not numbers: look at the node that makes it.")
    return mask


def _checked_text(conditioning, width: int) -> Tensor:
    """The one prompt of a CONDITIONING, `[1, n, C]`."""
    from ..magicdance_core.errors import InputError

    if len(conditioning) != 1:
        raise InputError(f"`text` holds {len(conditioning)} prompts: join them with Conditioning (Concat).")
    context = conditioning[0][0]
    if context.dim() != 3 or context.shape[-1] != width:
        raise InputError("`text` was written with another model's CLIP: use the CLIP of Stable Diffusion 1.5.")
    return context[:1]
