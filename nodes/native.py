"""Nodes that add the controls to ComfyUI's own MODEL, for KSampler and all other samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..magicdance_core.choices import CONTROL_MODES
from .comfy import conversion, folders
from .link_types import APPEARANCE_TYPE
from .model_files import LastResult, SameObject, control_loader, find_file, validate_file
from .pose_map_checks import check_pose_maps
from .socket_values import check_reference_count, to_embeddings, to_latents, to_mask, to_pictures
from .widget_checks import LINKED
from .widgets import Input, choice, socket, strength_and_range, toggle

if TYPE_CHECKING:
    from torch import Tensor

CATEGORY = "MagicDance/MODEL"


class MagicDanceLoadPublishedAsModel:
    """Load the backbone of a MagicDance checkpoint as MODEL, CLIP and VAE."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "model_state", "load checkpoint", "ksampler"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads the UNet, CLIP and VAE of a MagicDance checkpoint as ComfyUI's own MODEL, CLIP and VAE, for KSampler. "
        "Any other Stable Diffusion 1.5 checkpoint works too: use Load Checkpoint. For Sample Video Frames, use Load "
        "MagicDance Checkpoint."
    )
    RETURN_TYPES = ("MODEL", "CLIP", "VAE")
    RETURN_NAMES = ("model", "clip", "vae")
    OUTPUT_TOOLTIPS = ("For Apply Appearance to MODEL.", "For CLIP Text Encode.", "For VAE Encode and VAE Decode.")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"ckpt_name": _checkpoints()}}

    @classmethod
    def VALIDATE_INPUTS(cls, ckpt_name=LINKED):
        return validate_file(ckpt_name, folders.FOLDER)

    def load(self, ckpt_name):
        from ..magicdance_core.checkpoints import ROLES

        tensors = _read(ckpt_name, ["unet", "vae", "text_encoder"])
        return conversion.to_checkpoint(
            {ROLES[role].prefix + name: tensor for role, part in tensors.items() for name, tensor in part.items()}
        )


class MagicDanceLoadPoseControlNet:
    """Load the Pose ControlNet of a MagicDance checkpoint as CONTROL_NET."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "controlnet", "openpose", "load controlnet"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads the Pose ControlNet of a MagicDance checkpoint as ComfyUI's own CONTROL_NET, for Apply ControlNet. Any "
        "OpenPose ControlNet for Stable Diffusion 1.5 works too: use Load ControlNet Model."
    )
    RETURN_TYPES = ("CONTROL_NET",)
    RETURN_NAMES = ("control_net",)
    OUTPUT_TOOLTIPS = ("For Apply ControlNet. As published: on the positive prompt only.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"ckpt_name": _checkpoints()}}

    @classmethod
    def VALIDATE_INPUTS(cls, ckpt_name=LINKED):
        return validate_file(ckpt_name, folders.FOLDER)

    def load(self, ckpt_name):
        return (conversion.to_control_net(_read(ckpt_name, ["pose"])["pose"]),)


class MagicDanceLoadAppearance:
    """Load the Appearance Control Model of a MagicDance checkpoint."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "appearance control", "reference"]
    CATEGORY = CATEGORY
    DESCRIPTION = "Loads the Appearance Control Model of a MagicDance checkpoint, for Apply Appearance to MODEL."
    RETURN_TYPES = (APPEARANCE_TYPE,)
    RETURN_NAMES = ("appearance",)
    OUTPUT_TOOLTIPS = ("For Apply Appearance to MODEL; one network serves any number of people.",)
    FUNCTION = "load"

    def __init__(self) -> None:
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "A MagicDance checkpoint in models/magicdance. Only the Appearance Control Model is read."
        return {"required": {"ckpt_name": choice(folders.list_magicdance(), tooltip)}}

    @classmethod
    def VALIDATE_INPUTS(cls, ckpt_name=LINKED):
        return validate_file(ckpt_name, folders.FOLDER)

    def load(self, ckpt_name):
        return (self._network(*control_loader(ckpt_name, "appearance", folders.FOLDER)),)


class MagicDanceApplyAppearanceToModel:
    """Patch a MODEL so that its self-attention attends to a reference."""

    SEARCH_ALIASES = [
        "magicdance",
        "magicpose",
        "appearance control",
        "reference only",
        "photo",
        "ksampler",
        "identity",
    ]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Makes ComfyUI's own MODEL generate the person in the reference, with KSampler or any other sampler, together "
        "with LoRAs, ControlNets, IP-Adapter, AnimateDiff and others. Chained nodes add up; with masks, each part of "
        "the picture gets its own person."
    )
    RETURN_TYPES = ("MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("A patched copy of the MODEL.",)
    FUNCTION = "apply"

    def __init__(self) -> None:
        self._latents = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "A Stable Diffusion 1.5 MODEL, with any patches."),
                "appearance": socket(APPEARANCE_TYPE, "From Load Appearance."),
                **strength_and_range(
                    "Weight of the reference. 1: as published. 0: no control. Above 1: stronger.",
                    "the reference",
                    "noise schedule (as in Apply ControlNet)",
                ),
                "control_mode": choice(
                    CONTROL_MODES,
                    "controlnet_important: only the positive prompt's prediction uses the reference, as published. "
                    "balance: both predictions use it.",
                ),
            },
            "optional": {
                "reference": socket(
                    "LATENT",
                    "The encoded picture of the person, best in the frames' size. Several in a batch add up.",
                ),
                "image": socket(
                    "IMAGE",
                    "The picture of the person, instead of `reference`; needs `vae`. Several in a batch add up.",
                ),
                "vae": socket("VAE", "A VAE of Stable Diffusion 1.5, which encodes `image`."),
                "mask": socket(
                    "MASK",
                    "The part of the frames that uses this reference, one mask for all frames or one for each. Without "
                    "it, all of the frame.",
                ),
                "text": socket(
                    "CONDITIONING",
                    "Prompt of the Appearance Control Model. Without it, the sampler's prompts, as published.",
                ),
            },
        }

    def apply(
        self,
        model,
        appearance,
        strength,
        start_percent,
        end_percent,
        control_mode,
        reference=None,
        image=None,
        vae=None,
        mask=None,
        text=None,
    ):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.sampling import Control
        from .comfy import model_patch

        control = Control(strength, start_percent, end_percent)
        model_patch.check_fit(model, appearance)
        if reference is not None and image is not None:
            raise InputError("`reference` and `image` are both connected: disconnect one of them.")
        if reference is None:
            reference = self._encode(image, vae)
        source = model_patch.Source(
            network=appearance,
            latents=model.model.process_latent_in(to_latents(reference, "reference")),
            control=control,
            balance=control_mode == "balance",
            mask=to_mask(mask, "mask"),
            text=None if text is None else to_embeddings(text, model_patch.text_width(appearance), "text"),
        )
        return (model_patch.apply_source(model, source) if strength else model.clone(),)

    def _encode(self, image, vae) -> dict:
        from ..magicdance_core.errors import InputError

        if image is None or vae is None:
            raise InputError("There is no reference: connect `reference`, or `image` and `vae`.")
        pictures = to_pictures(image, "image")
        check_reference_count(len(pictures), "image")
        conversion.check_encodes_pictures(vae)
        key = SameObject(image), SameObject(vae)
        return self._latents(key, lambda: {"samples": vae.encode(pictures.movedim(1, -1))})


class MagicDanceEmptyFrames:
    """Make empty latents, one for each pose map."""

    SEARCH_ALIASES = ["magicdance", "empty latent", "same noise", "batch", "frames"]
    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Makes an empty latent for each pose map, for KSampler. As published, all frames start from the same noise, "
        "which keeps the background still; with a motion module, use independent noise."
    )
    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_TOOLTIPS = ("For KSampler: as many latents as pose maps, in their size.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "poses": socket(
                    "IMAGE",
                    "Pose maps, one for each frame. Sides are rounded down to multiples of 8.",
                    display_name="pose maps",
                ),
                "shared_noise": toggle(True, "Start all frames from the same noise, as published."),
            }
        }

    def make(self, poses, shared_noise):
        import torch

        from ..magicdance_core.errors import InputError

        if poses.dim() != 4 or len(poses) == 0 or min(poses.shape[1:3]) < 8:
            raise InputError("`poses` is not an IMAGE with sides of at least 8 pixels: connect pose maps.")
        check_pose_maps(to_pictures(poses, "poses"), "poses")
        frames, height, width, _ = poses.shape
        latent: dict[str, object] = {"samples": torch.zeros(frames, 4, height // 8, width // 8)}
        if shared_noise:
            latent["batch_index"] = [0] * frames  # ComfyUI draws one noise for each index
        return (latent,)


def _checkpoints() -> Input:
    return choice(
        folders.list_magicdance_files(),
        "A MagicDance checkpoint (.th, .safetensors, .ckpt, .pth) in models/magicdance. Only the parts that this node "
        "returns are read.",
    )


def _read(checkpoint: str, roles: list[str]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors of some networks of a checkpoint: role -> name -> tensor."""
    from ..magicdance_core.checkpoints import read_tensors

    return read_tensors(find_file(checkpoint, folders.FOLDER), roles)
