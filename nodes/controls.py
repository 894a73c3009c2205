"""Controls: attach the Appearance Control Model and the Pose ControlNet."""

from dataclasses import replace

from ..magicdance_core.choices import DEFAULT
from .comfy import folders, memory
from .control_inputs import is_there, loader, strength_and_range
from .last_result import LastResult
from .model import TYPE, MagicDanceModel

OUTPUT_TOOLTIP = "The model with the control attached; the model that came in stays as it is."


START = "From which part of the run on the control acts: 0 is the first step."
END = "Up to which part of the run the control acts: 1 is the last step."


class MagicDanceApplyAppearance:
    """Attach the Appearance Control Model."""

    SEARCH_ALIASES = ["magicdance", "appearance control", "reference", "identity", "reference only"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches the Appearance Control Model, which makes every frame look like the reference. The reference itself "
        "goes into Sample Video Frames, where several pictures of one person in one batch add up."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (OUTPUT_TOOLTIP,)
    FUNCTION = "apply"

    def __init__(self):
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        names = [DEFAULT, *folders.list_magicdance()]
        tooltip = (
            f"A MagicDance checkpoint in models/magicdance, or `{DEFAULT}` to set the strength of one loaded with it."
        )
        return {
            "required": {
                "model": (TYPE, {"tooltip": "Any backbone."}),
                "appearance": (names, {"default": DEFAULT, "tooltip": tooltip}),
                **strength_and_range(
                    "Weight of the reference: 1 as published, 0 exactly no control, above 1 stronger.", START, END
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, appearance):
        return is_there(appearance, folders.FOLDER)

    def apply(self, model, appearance, strength, start, end):
        from ..magicdance_core.sampling import Control

        held = model.appearance
        if appearance != DEFAULT:
            held = self._network(*loader(appearance, "appearance", folders.FOLDER))
        _require(held, "Appearance Control Model", "appearance")
        _check_fit(held, model, "Appearance Control Model")
        return (replace(model, appearance=held, appearance_control=Control(strength, start, end)),)


class MagicDanceApplyPose:
    """Attach a Pose ControlNet."""

    SEARCH_ALIASES = ["magicdance", "pose control", "controlnet", "openpose"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches the Pose ControlNet, which puts every frame in the pose of its pose map: the one of a MagicDance "
        "checkpoint, or any OpenPose ControlNet for Stable Diffusion 1.5."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = (OUTPUT_TOOLTIP,)
    FUNCTION = "apply"

    def __init__(self):
        self._network = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        names = list(dict.fromkeys([DEFAULT, *folders.list_magicdance(), *folders.list_files("controlnet")]))
        tooltip = (
            "A MagicDance checkpoint in models/magicdance, a Stable Diffusion 1.5 ControlNet in models/controlnet, or "
            f"`{DEFAULT}` to set the strength of one loaded with the model."
        )
        return {
            "required": {
                "model": (TYPE, {"tooltip": "Any backbone."}),
                "pose": (names, {"default": DEFAULT, "tooltip": tooltip}),
                **strength_and_range(
                    "How strictly the frames follow the pose maps: 1 as published, 0 exactly no control.", START, END
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, pose):
        return is_there(pose, folders.FOLDER, "controlnet")

    def apply(self, model, pose, strength, start, end):
        from ..magicdance_core.sampling import Control

        held = model.pose
        if pose != DEFAULT:
            held = self._network(*loader(pose, "pose", folders.FOLDER, "controlnet"))
        _require(held, "Pose ControlNet", "pose")
        _check_fit(held, model, "Pose ControlNet")
        return (replace(model, pose=held, pose_control=Control(strength, start, end)),)


def _require(held, title: str, widget: str) -> None:
    from ..magicdance_core.errors import InputError

    if held is None:
        raise InputError(f"The model came without a {title}: choose a file in `{widget}`.")


def _check_fit(held, model: MagicDanceModel, title: str) -> None:
    from ..magicdance_core.checkpoints.components import fits
    from ..magicdance_core.errors import InputError

    if not fits(*(memory.network(part) for part in (held, model.unet, model.vae))):
        raise InputError(f"This {title} was made for another kind of backbone: take both from one family of models.")
