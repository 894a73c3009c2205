"""Motion: load and apply motion modules, and say which frames they see together."""

from dataclasses import replace

from ..magicdance_core.choices import BETA_SCHEDULES, DEFAULT, NOISES, WINDOW_WEIGHTS
from .comfy import folders, memory
from .control_inputs import strength_and_range
from .last_result import LastResult, identity
from .model import CONTEXT_TYPE, MOTION_TYPE, TYPE, ContextOptions, Motion

NONE = "none"
STRENGTH = {"default": 1.0, "min": -2.0, "max": 2.0, "step": 0.05, "round": 0.001}
ADAPTER_FOLDERS = folders.MOTION_LORA_FOLDER, folders.LORA_FOLDER


class MagicDanceLoadMotion:
    """Load a motion module."""

    SEARCH_ALIASES = ["magicdance", "animatediff", "motion module", "temporal", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Loads what lets the frames of a video see each other, so that they do not flicker: a motion module of "
        "AnimateDiff (v1, v2, v3), TemporalDiff or AnimateLCM, or one that the pack's trainer has made."
    )
    RETURN_TYPES = (MOTION_TYPE,)
    RETURN_NAMES = ("motion_module",)
    OUTPUT_TOOLTIPS = ("The motion module, for Apply Motion Module.",)
    FUNCTION = "load"

    def __init__(self):
        self._motion = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "motion_module": (
                    [*folders.list_files(folders.MOTION_FOLDER), folders.EMBEDDED],
                    {
                        "tooltip": "A file in models/animatediff_models, for Stable Diffusion 1.5; or `embedded`, for "
                        "the embedded model."
                    },
                ),
                "motion_lora": (
                    [NONE, *folders.list_files(folders.MOTION_LORA_FOLDER)],
                    {
                        "default": NONE,
                        "tooltip": "A file in models/animatediff_motion_lora, which adds a motion such as a zoom.",
                    },
                ),
                "lora_strength": ("FLOAT", STRENGTH | {"tooltip": "How much of the motion LoRA is added."}),
                "adapter": (
                    [NONE, *folders.list_files(*ADAPTER_FOLDERS)],
                    {
                        "default": NONE,
                        "tooltip": "AnimateDiff v3's adapter (v3_sd15_adapter), a LoRA for the model itself, in "
                        "models/animatediff_motion_lora or models/loras.",
                    },
                ),
                "adapter_strength": ("FLOAT", STRENGTH | {"tooltip": "How much of the adapter is added."}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, motion_module, motion_lora, adapter):
        asked = [(motion_lora, (folders.MOTION_LORA_FOLDER,)), (adapter, ADAPTER_FOLDERS)]
        if motion_module != folders.EMBEDDED:
            asked.insert(0, (motion_module, (folders.MOTION_FOLDER,)))
        for name, places in asked:
            if name != NONE and not (name and folders.find_model(name, *places)):
                return f"{name or 'A motion module'} is not in models/{places[0]}: put the file there and refresh (R)."
        return True

    def load(self, motion_module, motion_lora, lora_strength, adapter, adapter_strength):
        from ..magicdance_core.checkpoints import EMBEDDED_MOTION

        own = motion_module == folders.EMBEDDED
        path = EMBEDDED_MOTION if own else folders.find_model(motion_module, folders.MOTION_FOLDER)
        lora = None if motion_lora == NONE else folders.find_model(motion_lora, folders.MOTION_LORA_FOLDER)
        key = (identity(path), None if lora is None else (identity(lora), lora_strength))
        module = self._motion(key, lambda: _load(path, lora, lora_strength))
        if adapter == NONE:
            return (Motion(module),)
        return (Motion(module, _adapter(folders.find_model(adapter, *ADAPTER_FOLDERS)), adapter_strength),)


class MagicDanceApplyMotion:
    """Attach a motion module."""

    SEARCH_ALIASES = ["magicdance", "animatediff", "motion module", "temporal", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Attaches a motion module, through which the frames of a video see each other. Without `motion_module` it sets "
        "strength and range of the one that came with the model."
    )
    RETURN_TYPES = (TYPE,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The model with the motion module attached; the model that came in stays as it is.",)
    FUNCTION = "apply"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": (TYPE, {"tooltip": "Any backbone."}),
                **strength_and_range(
                    "How much the frames are drawn to each other: 1 as trained, 0 exactly no motion module.",
                    "From which part of the run on the motion module acts: 0 is the first step.",
                    "Up to which part of the run the motion module acts: 1 is the last step.",
                ),
            },
            "optional": {
                "motion_module": (MOTION_TYPE, {"tooltip": "From Load Motion Module; by default the model's own."}),
            },
        }

    def apply(self, model, strength, start, end, motion_module=None):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.models import check_motion_fits
        from ..magicdance_core.sampling import Control

        given = motion_module or Motion(model.motion)
        if given.module is None:
            raise InputError("The model came without a motion module: connect Load Motion Module to `motion_module`.")
        check_motion_fits(*map(memory.network, (model.unet, model.vae, given.module)))
        unet = model.unet
        if given.adapter is not None:
            unet = memory.with_lora(unet, given.adapter, given.adapter_strength)
        return (replace(model, unet=unet, motion=given.module, motion_control=Control(strength, start, end)),)


class MagicDanceContextOptions:
    """Which frames a motion module sees together."""

    SEARCH_ALIASES = ["magicdance", "context options", "window", "long video", "loop", "animatediff"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "A motion module sees a window of frames at a time. Windows overlap and lie elsewhere at every step, so that "
        "videos of any length come out in one piece. Without this node: 16 frames, 4 of them shared with the next."
    )
    RETURN_TYPES = (CONTEXT_TYPE,)
    RETURN_NAMES = ("context_options",)
    OUTPUT_TOOLTIPS = ("For Sample Video Frames.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "length": (
                    "INT",
                    {
                        "default": 16,
                        "min": 1,
                        "max": 256,
                        "tooltip": "Frames in a window; AnimateDiff was trained with 16.",
                    },
                ),
                "overlap": (
                    "INT",
                    {"default": 4, "min": 0, "max": 255, "tooltip": "Frames that a window shares with the next."},
                ),
                "stride": (
                    "INT",
                    {
                        "default": 1,
                        "min": 1,
                        "max": 16,
                        "tooltip": "Above 1, every other step takes frames so far apart, so that far frames agree.",
                    },
                ),
                "weights": (
                    list(WINDOW_WEIGHTS),
                    {"default": WINDOW_WEIGHTS[0], "tooltip": "How much each frame of a window counts in overlaps."},
                ),
                "closed_loop": ("BOOLEAN", {"default": False, "tooltip": "The last frame leads to the first."}),
                "noise": (
                    list(NOISES),
                    {
                        "default": DEFAULT,
                        "tooltip": "What frames share of their noise: shared as published, independent as AnimateDiff, "
                        "mixed half of both, free repeats the noises of one window.",
                    },
                ),
                "beta_schedule": (
                    list(BETA_SCHEDULES),
                    {
                        "default": DEFAULT,
                        "tooltip": "How noise grows: linear is AnimateDiff's, scaled_linear MagicDance's.",
                    },
                ),
                "motion_in_uncond": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "The motion module also acts where guidance leads away from, as in AnimateDiff.",
                    },
                ),
                "quick": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "For a first look at a long video: one window after the other through all steps, so "
                        "that the preview soon plays its beginning. An approximation.",
                    },
                ),
                "random_starts": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "Of a closed loop: its windows start at a random frame at each step, by the "
                        "sampler's seed; with flat weights the published averaging.",
                    },
                ),
            }
        }

    def make(
        self,
        length,
        overlap,
        stride,
        weights,
        closed_loop,
        noise,
        beta_schedule,
        motion_in_uncond,
        quick,
        random_starts,
    ):
        from ..magicdance_core.sampling import Windows

        strides, random = (1,) if stride == 1 else (1, stride), 0 if random_starts else None
        windows = Windows(length, overlap, strides, closed=closed_loop, weights=weights, random=random)
        return (ContextOptions(windows, None if noise == DEFAULT else noise, beta_schedule, motion_in_uncond, quick),)


def _adapter(path):
    from ..magicdance_core.checkpoints import read_lora
    from ..magicdance_core.errors import InputError

    adapter = read_lora(path)
    if adapter.is_motion:
        raise InputError(f"{path} is a motion LoRA: choose it as `motion_lora`.")
    return adapter


def _load(path, lora, strength: float):
    from ..magicdance_core.checkpoints import load_motion, merge_lora

    motion = load_motion(path, memory.storage_dtypes()["motion"])
    if lora is not None:
        merge_lora(lora, strength, motion)
    return memory.hold(motion, "motion")
