"""Nodes that load a model: a checkpoint, the published model, the embedded one, or ComfyUI's own MODEL.

The backbone is the part that Appearance Control and Pose ControlNet are applied to: a UNet of Stable Diffusion 1.5 with
its VAE.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..magicdance_core.checks import shown
from .comfy import conversion, folders, memory
from .link_types import MODEL_TYPE, MagicDanceModel
from .model_files import SOURCES, LastResult, SameObject, file_key, find_file, validate_file
from .widget_checks import LINKED
from .widgets import choice, socket

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..magicdance_core.checkpoints import Components

PUBLISHED_URL = SOURCES[folders.FOLDER]
MODEL_TOOLTIP = "The model, for Apply Appearance, Apply Pose and Sample Video Frames."
CHECKPOINT_FOLDERS = "checkpoints", "diffusers"


class MagicDanceLoadBackbone:
    """Load a Stable Diffusion 1.5 checkpoint or folder, or the embedded model."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "load checkpoint", "sd 1.5", "embedded model"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads the backbone, the model that generates the frames: any Stable Diffusion 1.5 checkpoint or diffusers "
        "folder, to which Apply Appearance and Apply Pose add the controls. `embedded` is a small complete model that "
        "comes with the pack: drawn people of 128 x 128 pixels, controls included, no download."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (MODEL_TOOLTIP,)
    FUNCTION = "load"

    def __init__(self) -> None:
        self._model, self._vae = LastResult(), LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        files = [*folders.list_files("checkpoints"), *folders.list_folders("diffusers")]
        return {
            "required": {
                "ckpt_name": choice(
                    [folders.EMBEDDED, *files],
                    "`embedded`, a Stable Diffusion 1.5 checkpoint in models/checkpoints, or a diffusers folder of one "
                    "in models/diffusers.",
                ),
            },
            "optional": {
                "vae": socket("VAE", "Replaces the checkpoint's VAE. Not possible with the embedded model."),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, ckpt_name=LINKED):
        return ckpt_name == folders.EMBEDDED or validate_file(ckpt_name, *CHECKPOINT_FOLDERS)

    def load(self, ckpt_name, vae=None):
        from ..magicdance_core.errors import InputError

        if ckpt_name == folders.EMBEDDED:
            if vae is not None:
                raise InputError(
                    "`vae` is connected, but the embedded model works with its own VAE only: disconnect it."
                )
            return (self._model(folders.EMBEDDED, _load_embedded),)
        path = find_file(ckpt_name, *CHECKPOINT_FOLDERS)
        model = self._model(file_key(path), lambda: _load_backbone(path))
        if vae is not None:
            model = replace(model, vae=self._vae(SameObject(vae), lambda: _convert_vae(vae)))
        return (model,)


class MagicDanceLoadPublished:
    """Load a complete MagicDance checkpoint."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "animate photo", "dance model", "model_state", "load checkpoint"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads a complete MagicDance checkpoint from models/magicdance: UNet, VAE, Appearance Control Model and Pose "
        "ControlNet. The published one is model_state-110000.th; converted .safetensors files and model folders work "
        "too. For KSampler, use Load MagicDance as MODEL."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The complete model, ready for Sample Video Frames.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "ckpt_name": choice(
                    folders.list_magicdance(),
                    "A checkpoint (.th, .safetensors, .ckpt, .pth) or a model folder in models/magicdance. "
                    f"Download: {PUBLISHED_URL}",
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, ckpt_name=LINKED):
        if ckpt_name is LINKED or ckpt_name and folders.find_model(ckpt_name, folders.FOLDER):
            return True
        return (
            f"{shown(ckpt_name) or 'A checkpoint'} is not in models/magicdance: download model_state-110000.th from "
            f"{PUBLISHED_URL} into that folder and refresh the list (R)."
        )

    def load(self, ckpt_name):
        from ..magicdance_core.checkpoints import load_folder, load_published

        path = find_file(ckpt_name, folders.FOLDER)
        load = load_folder if path.is_dir() else load_published
        return (_hold(load(path, memory.storage_dtypes())),)  # no variable here keeps the weights alive


class MagicDanceFromModel:
    """Use ComfyUI's MODEL, VAE and CLIP as the backbone."""

    SEARCH_ALIASES = ["magicdance", "magicpose", "lora", "merge", "model to magicdance", "use model"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Uses a MODEL and a VAE of Stable Diffusion 1.5 as the backbone, with the LoRAs and merges applied to them. "
        "Only weights are taken: patches that act during sampling (IP-Adapter, FreeU, ...) have no effect."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (MODEL_TOOLTIP,)
    FUNCTION = "take"

    def __init__(self) -> None:
        self._unet, self._vae, self._context = LastResult(), LastResult(), LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket("MODEL", "A Stable Diffusion 1.5 MODEL; its LoRAs and merges are kept."),
                "vae": socket("VAE", "A VAE of Stable Diffusion 1.5."),
            },
            "optional": {
                "clip": socket(
                    "CLIP", "Encodes the empty prompt. Without it, connect a prompt to Sample Video Frames."
                ),
            },
        }

    def take(self, model, vae, clip=None):
        from ..magicdance_core.checkpoints import PUBLISHED_DEFAULTS
        from ..magicdance_core.schedule import published_scheduler

        conversion.check_family(model)
        prediction_type = conversion.prediction_type(model)
        unet = self._unet((SameObject(model.model), model.patches_uuid), lambda: _convert_unet(model))
        context = None
        if clip is not None:
            key = SameObject(clip.cond_stage_model), clip.patcher.patches_uuid
            width = memory.network(unet).config.cross_attention_dim
            context = self._context(key, lambda: conversion.empty_prompt(clip, width))
        return (
            MagicDanceModel(
                unet=unet,
                vae=self._vae(SameObject(vae), lambda: _convert_vae(vae)),
                scheduler=published_scheduler(prediction_type),
                context=context,
                takes_prompts=True,
                defaults=MappingProxyType(PUBLISHED_DEFAULTS),
            ),
        )


def _load_embedded() -> MagicDanceModel:
    from ..magicdance_core.pipeline import MagicDancePipeline

    pipe = MagicDancePipeline.from_embedded()
    files = tuple(Path(file) for file, _ in pipe.face_loras)
    return replace(_hold(pipe.components), puppets_only=True, face_loras=files)


def _load_backbone(path: Path) -> MagicDanceModel:
    from ..magicdance_core.checkpoints import load

    return _hold(load(path, memory.storage_dtypes(), controls=False))


def _hold(components: Components) -> MagicDanceModel:
    from ..magicdance_core.checkpoints import ROLES

    networks = components.networks().items()
    return MagicDanceModel(
        **{role: memory.hold(network, role) for role, network in networks if ROLES[role].samples},
        scheduler=components.scheduler,
        context=components.context,
        takes_prompts=components.text_encoder is not None,
        defaults=MappingProxyType(components.defaults),
    )


def _convert_unet(model) -> ModelPatcher:
    return _convert(conversion.unet_tensors(model), "unet", "The connected MODEL")


def _convert_vae(vae) -> ModelPatcher:
    return _convert(conversion.vae_tensors(vae), "vae", "The connected VAE")


def _convert(tensors: dict, role: str, name: str) -> ModelPatcher:
    from ..magicdance_core.checkpoints import load_tensors

    return memory.hold(load_tensors(tensors, role, name, memory.storage_dtypes()[role]), role)
