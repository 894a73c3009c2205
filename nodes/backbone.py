"""Backbones: a checkpoint, the published model, the embedded one, or ComfyUI's own MODEL."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from .comfy import conversion, folders, memory
from .last_result import LastResult, Same, identity
from .model import TYPE, MagicDanceModel

if TYPE_CHECKING:
    from ..magicdance_core.checkpoints import Components

PUBLISHED_URL = "https://huggingface.co/Boese0601/MagicDance"
MODEL_TOOLTIP = "The model, for Apply Appearance, Apply Pose and Sample Video Frames."


class MagicDanceLoadBackbone:
    """A Stable Diffusion 1.5 checkpoint or folder, or the embedded model."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "load checkpoint", "sd 1.5", "embedded model"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads what the frames are painted with: any Stable Diffusion 1.5 checkpoint or diffusers folder, to which "
        "Appearance Control and the Pose ControlNet are applied next. `embedded` is a small complete model that comes "
        "with the pack: drawn people of 128 x 128 pixels, no download, controls included."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (MODEL_TOOLTIP,)
    FUNCTION = "load"

    def __init__(self):
        self._model, self._vae = LastResult(), LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "backbone": (
                    [folders.EMBEDDED, *folders.list_files("checkpoints"), *folders.list_folders("diffusers")],
                    {
                        "default": folders.EMBEDDED,
                        "tooltip": "`embedded`, a file in models/checkpoints, or a folder in models/diffusers. "
                        "Made from Stable Diffusion 1.5.",
                    },
                ),
            },
            "optional": {
                "vae": ("VAE", {"tooltip": "Used instead of the checkpoint's own VAE. Not for the embedded model."}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, backbone):
        if backbone == folders.EMBEDDED or folders.find_model(backbone, "checkpoints", "diffusers"):
            return True
        return (
            f"{backbone} is in neither models/checkpoints nor models/diffusers: put a Stable Diffusion 1.5 checkpoint "
            "there and refresh the list (R), or choose embedded."
        )

    def load(self, backbone, vae=None):
        from ..magicdance_core.errors import InputError

        if backbone == folders.EMBEDDED:
            if vae is not None:
                raise InputError("The embedded model works with its own VAE only: disconnect vae.")
            return (self._model(folders.EMBEDDED, _embedded),)
        path = folders.find_model(backbone, "checkpoints", "diffusers")
        if path is None:
            raise InputError(f"{backbone} is not there any more: choose another backbone.")
        model = self._model(identity(path), lambda: _stock(path))
        if vae is not None:
            model = replace(model, vae=self._vae(Same(vae), lambda: _converted_vae(vae)))
        return (model,)


class MagicDanceLoadPublished:
    """A complete MagicDance checkpoint in one go."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "model_state", "load checkpoint"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads a complete MagicDance checkpoint from models/magicdance: backbone, VAE, Appearance Control and Pose "
        "ControlNet in one go. The published one is model_state-110000.th; converted .safetensors files and model "
        "folders work too."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The complete model, ready for Sample Video Frames.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "checkpoint": (
                    folders.list_magicdance(),
                    {
                        "tooltip": "A file (.th, .safetensors, .ckpt, .pth) or a model folder in models/magicdance. "
                        f"Download: {PUBLISHED_URL}"
                    },
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, checkpoint):
        if checkpoint and folders.find_model(checkpoint, folders.FOLDER):
            return True
        return (
            f"{checkpoint or 'A checkpoint'} is not in models/magicdance: download model_state-110000.th from "
            f"{PUBLISHED_URL} into that folder and refresh the list (R)."
        )

    def load(self, checkpoint):
        from ..magicdance_core.checkpoints import load_folder, load_published
        from ..magicdance_core.errors import InputError

        path = folders.find_model(checkpoint, folders.FOLDER)
        if path is None:
            raise InputError(f"{checkpoint} is not in models/magicdance any more: choose another checkpoint.")
        load = load_folder if path.is_dir() else load_published
        return (_held(load(path, memory.storage_dtypes())),)  # no variable of this frame keeps the weights


class MagicDanceFromModel:
    """ComfyUI's own MODEL, CLIP and VAE as the backbone."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "lora", "merge", "model to magicdance", "use model"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Takes ComfyUI's own MODEL and VAE (Stable Diffusion 1.5) as the backbone, with the LoRAs and merges applied "
        "to them. Patches that act while sampling (IP-Adapter, FreeU, ...) stay behind: only weights are taken."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (MODEL_TOOLTIP,)
    FUNCTION = "take"

    def __init__(self):
        self._unet, self._vae, self._context = LastResult(), LastResult(), LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL", {"tooltip": "Made from Stable Diffusion 1.5; LoRAs and merges come along."}),
                "vae": ("VAE", {"tooltip": "Of Stable Diffusion 1.5: the checkpoint's or another one."}),
            },
            "optional": {
                "clip": (
                    "CLIP",
                    {"tooltip": "Reads the empty prompt. Without it, connect `positive` in Sample Video Frames."},
                ),
            },
        }

    def take(self, model, vae, clip=None):
        from ..magicdance_core.schedule import published_scheduler

        prediction_type = conversion.prediction_type(model)
        unet = self._unet((Same(model.model), model.patches_uuid), lambda: _converted_unet(model))
        context = None
        if clip is not None:
            context = self._context(
                (Same(clip.cond_stage_model), clip.patcher.patches_uuid), lambda: conversion.empty_prompt(clip)
            )
        return (
            MagicDanceModel(
                unet=unet,
                vae=self._vae(Same(vae), lambda: _converted_vae(vae)),
                scheduler=published_scheduler(prediction_type),
                context=context,
                knows_text=True,
                defaults=_published_defaults(),
            ),
        )


def _embedded() -> MagicDanceModel:
    from ..magicdance_core.pipeline import MagicDancePipeline

    return replace(_held(MagicDancePipeline.from_embedded().components), puppets_only=True)


def _stock(path) -> MagicDanceModel:
    from ..magicdance_core.checkpoints import load

    return _held(load(path, memory.storage_dtypes(), controls=False))


def _held(components: Components) -> MagicDanceModel:
    from ..magicdance_core.checkpoints import ROLES

    networks = components.networks().items()
    return MagicDanceModel(
        **{role: memory.hold(network, role) for role, network in networks if ROLES[role].samples},
        scheduler=components.scheduler,
        context=components.context,
        knows_text=components.text_encoder is not None,
        defaults=MappingProxyType(components.defaults),
    )


def _converted_unet(model):
    from ..magicdance_core.checkpoints import load_tensors

    dtype = memory.storage_dtypes()["unet"]
    return memory.hold(load_tensors(conversion.unet_tensors(model), "unet", "The connected MODEL", dtype), "unet")


def _converted_vae(vae):
    from ..magicdance_core.checkpoints import load_tensors

    dtype = memory.storage_dtypes()["vae"]
    return memory.hold(load_tensors(conversion.vae_tensors(vae), "vae", "The connected VAE", dtype), "vae")


def _published_defaults():
    from ..magicdance_core.checkpoints import PUBLISHED_DEFAULTS

    return MappingProxyType(PUBLISHED_DEFAULTS)
