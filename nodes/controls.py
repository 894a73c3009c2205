"""Nodes that attach a network to a model: Appearance Control Model, Pose ControlNet, and motion modules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..magicdance_core.choices import DEFAULT
from .comfy import folders, memory
from .link_types import MODEL_TYPE, MOTION_TYPE, MagicDanceModel, Motion
from .model_files import LastResult, control_loader, file_key, find_file, validate_file
from .widget_checks import LINKED
from .widgets import choice, number, socket, strength_and_range

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher

    from ..magicdance_core.checkpoints import Lora

NONE = "none"
POSE_FOLDERS = folders.FOLDER, "controlnet"
ADAPTER_FOLDERS = folders.MOTION_LORA_FOLDER, folders.LORA_FOLDER
MODEL_TOOLTIP = "A model from Load Backbone or MagicDance from MODEL, or one that has controls already."
OUTPUT_TOOLTIP = "A copy of the model with the network attached."


class MagicDanceApplyAppearance:
    """Attach the Appearance Control Model."""

    SEARCH_ALIASES = ["magicdance", "appearance control", "reference", "photo", "identity", "reference only"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches the Appearance Control Model, which makes every frame look like the reference. The reference itself "
        "is connected to Sample Video Frames."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (OUTPUT_TOOLTIP,)
    FUNCTION = "apply"

    def __init__(self) -> None:
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket(MODEL_TYPE, MODEL_TOOLTIP),
                "appearance_name": choice(
                    [DEFAULT, *folders.list_magicdance()],
                    "A MagicDance checkpoint in models/magicdance. default: the one that the model came with.",
                ),
                **strength_and_range(
                    "Weight of the reference. 1: as published. 0: no control. Above 1: stronger.", "the reference"
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, appearance_name=LINKED):
        return validate_file(appearance_name, folders.FOLDER)

    def apply(self, model, appearance_name, strength, start_percent, end_percent):
        from ..magicdance_core.sampling import Control

        held = model.appearance
        if appearance_name != DEFAULT:
            held = self._network(*control_loader(appearance_name, "appearance", folders.FOLDER))
        _check(held, model, "Appearance Control Model", "appearance_name")
        return (replace(model, appearance=held, appearance_control=Control(strength, start_percent, end_percent)),)


class MagicDanceApplyPose:
    """Attach a Pose ControlNet."""

    SEARCH_ALIASES = ["magicdance", "pose control", "pose video", "controlnet", "openpose"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches a Pose ControlNet, which gives every frame the pose of its pose map: the one of a MagicDance "
        "checkpoint, or any OpenPose ControlNet for Stable Diffusion 1.5."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (OUTPUT_TOOLTIP,)
    FUNCTION = "apply"

    def __init__(self) -> None:
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        files = [*folders.list_magicdance(), *folders.list_files("controlnet")]
        return {
            "required": {
                "model": socket(MODEL_TYPE, MODEL_TOOLTIP),
                "control_net_name": choice(
                    list(dict.fromkeys([DEFAULT, *files])),
                    "A MagicDance checkpoint in models/magicdance, or a Stable Diffusion 1.5 ControlNet in "
                    "models/controlnet. default: the one that the model came with.",
                ),
                **strength_and_range(
                    "How closely the frames follow the pose maps. 1: as published. 0: no control.",
                    "the Pose ControlNet",
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, control_net_name=LINKED):
        return validate_file(control_net_name, *POSE_FOLDERS)

    def apply(self, model, control_net_name, strength, start_percent, end_percent):
        from ..magicdance_core.sampling import Control

        held = model.pose
        if control_net_name != DEFAULT:
            held = self._network(*control_loader(control_net_name, "pose", *POSE_FOLDERS))
        _check(held, model, "Pose ControlNet", "control_net_name")
        return (replace(model, pose=held, pose_control=Control(strength, start_percent, end_percent)),)


class MagicDanceLoadMotion:
    """Load a motion module."""

    SEARCH_ALIASES = ["magicdance", "animatediff", "motion module", "temporal", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads a motion module: temporal layers through which the frames of a video attend to each other, so that they "
        "flicker less. AnimateDiff v1, v2 and v3, TemporalDiff, AnimateLCM, and modules trained with this pack."
    )
    RETURN_TYPES = (MOTION_TYPE,)
    RETURN_NAMES = ("motion_module",)
    OUTPUT_TOOLTIPS = ("The motion module, for Apply Motion Module.",)
    FUNCTION = "load"

    def __init__(self) -> None:
        self._motion = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        def strength(what: str, **options) -> tuple:
            return number(1.0, -2.0, 2.0, f"Strength of the {what}.", **options)

        return {
            "required": {
                "motion_module_name": choice(
                    [*folders.list_files(folders.MOTION_FOLDER), folders.EMBEDDED],
                    "A motion module for Stable Diffusion 1.5 in models/animatediff_models, or `embedded`, the one of "
                    "the embedded model.",
                ),
                "motion_lora_name": choice(
                    [NONE, *folders.list_files(folders.MOTION_LORA_FOLDER)],
                    "A motion LoRA in models/animatediff_motion_lora, which adds a camera motion such as a zoom.",
                ),
                "motion_lora_strength": strength("motion LoRA"),
                "adapter_name": choice(
                    [NONE, *folders.list_files(*ADAPTER_FOLDERS)],
                    "The domain adapter of AnimateDiff v3 (v3_sd15_adapter), a LoRA for the UNet, in "
                    "models/animatediff_motion_lora or models/loras.",
                    advanced=True,
                ),
                "adapter_strength": strength("adapter", advanced=True),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, motion_module_name=LINKED):  # ComfyUI marks every input that this function names
        return motion_module_name == folders.EMBEDDED or validate_file(motion_module_name, folders.MOTION_FOLDER)

    def load(self, motion_module_name, motion_lora_name, motion_lora_strength, adapter_name, adapter_strength):
        from ..magicdance_core.checkpoints import EMBEDDED_MOTION

        embedded = motion_module_name == folders.EMBEDDED
        path = EMBEDDED_MOTION if embedded else find_file(motion_module_name, folders.MOTION_FOLDER)
        lora = None if motion_lora_name == NONE else find_file(motion_lora_name, folders.MOTION_LORA_FOLDER)
        key = file_key(path), None if lora is None else (file_key(lora), motion_lora_strength)
        module = self._motion(key, lambda: _load_motion(path, lora, motion_lora_strength))
        if adapter_name == NONE:
            return (Motion(module),)
        return (Motion(module, _load_adapter(find_file(adapter_name, *ADAPTER_FOLDERS)), adapter_strength),)


class MagicDanceApplyMotion:
    """Attach a motion module."""

    SEARCH_ALIASES = ["magicdance", "animatediff", "motion module", "temporal", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches a motion module, through which the frames of a video attend to each other. Without `motion_module`, "
        "sets strength and range of the one that the model came with."
    )
    RETURN_TYPES = (MODEL_TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (OUTPUT_TOOLTIP,)
    FUNCTION = "apply"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket(MODEL_TYPE, MODEL_TOOLTIP),
                **strength_and_range(
                    "Strength of the motion module. 1: as trained. 0: no motion module.", "the motion module"
                ),
            },
            "optional": {
                "motion_module": socket(
                    MOTION_TYPE, "From Load Motion Module. Without it, the one that the model came with."
                ),
            },
        }

    def apply(self, model, strength, start_percent, end_percent, motion_module=None):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.models import check_motion_fits
        from ..magicdance_core.sampling import Control

        motion = motion_module or Motion(model.motion)
        if motion.module is None:
            raise InputError("The model came without a motion module: connect Load Motion Module to `motion_module`.")
        check_motion_fits(*map(memory.network, (model.unet, model.vae, motion.module)))
        unet = model.unet
        if motion.adapter is not None:
            unet = memory.with_lora(unet, motion.adapter, motion.adapter_strength)
        control = Control(strength, start_percent, end_percent)
        return (replace(model, unet=unet, motion=motion.module, motion_control=control),)


def _check(held: ModelPatcher | None, model: MagicDanceModel, title: str, widget: str) -> None:
    """Raise InputError if there is no control network, or if its shapes are not those of the model."""
    from ..magicdance_core.checkpoints.components import control_fits
    from ..magicdance_core.errors import InputError

    if held is None:
        raise InputError(f"The model came without a {title}: choose a file in `{widget}`.")
    if not control_fits(*(memory.network(part) for part in (held, model.unet, model.vae))):
        raise InputError(f"This {title} was made for another kind of model: choose one of the same family.")


def _load_motion(path: Path, lora: Path | None, strength: float) -> ModelPatcher:
    from ..magicdance_core.checkpoints import load_motion, merge_lora

    motion = load_motion(path, memory.storage_dtypes()["motion"])
    if lora is not None:
        merge_lora(lora, strength, motion)
    return memory.hold(motion, "motion")


def _load_adapter(path: Path) -> Lora:
    from ..magicdance_core.checkpoints import read_lora
    from ..magicdance_core.errors import InputError

    adapter = read_lora(path)
    if adapter.is_motion:
        raise InputError(f"{path} is a motion LoRA: choose it in `motion_lora_name`.")
    return adapter
