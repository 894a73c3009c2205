"""Nodes with further settings of Sample Video Frames: context windows, and approximations that save time."""

from ..magicdance_core.choices import BETA_SCHEDULES, DEFAULT, NOISES, WINDOW_WEIGHTS
from .link_types import CONTEXT_TYPE, SPEED_TYPE, ContextOptions
from .widgets import choice, integer, start_and_end, toggle


class MagicDanceContextOptions:
    """Set the context windows of a motion module, and how noise is drawn."""

    SEARCH_ALIASES = ["magicdance", "context options", "window", "long video", "loop", "animatediff"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "A motion module attends to a window of frames at a time. Windows overlap and are shifted at every step, so "
        "that videos of any length stay consistent. Without this node: 16 frames, 4 of them shared with the next "
        "window."
    )
    RETURN_TYPES = (CONTEXT_TYPE,)
    RETURN_NAMES = ("context_options",)
    OUTPUT_TOOLTIPS = ("For Sample Video Frames.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "context_length": integer(16, 1, 256, "Number of frames in a window. AnimateDiff was trained with 16."),
                "context_overlap": integer(4, 0, 255, "Number of frames that a window shares with the next."),
                "closed_loop": toggle(False, "Make the last frame lead to the first."),
                "noise_type": choice(
                    NOISES,
                    "Initial noise of the frames. shared: the same for all, as published. independent: one for each, "
                    "as in AnimateDiff. mixed: half shared. free: the noises of one window, shuffled. default: the "
                    "model's default.",
                ),
                "beta_schedule": choice(
                    BETA_SCHEDULES,
                    "Noise schedule. linear: AnimateDiff's. scaled_linear: MagicDance's. default: the model's default.",
                    advanced=True,
                ),
                "context_stride": integer(
                    1, 1, 16, "Above 1, windows of every other step take frames this far apart.", advanced=True
                ),
                "fuse_method": choice(
                    WINDOW_WEIGHTS, "Weights of a window's frames where windows overlap.", advanced=True
                ),
                "motion_in_uncond": toggle(
                    False,
                    "Apply the motion module to the unconditional prediction too, as in AnimateDiff.",
                    advanced=True,
                ),
                "random_starts": toggle(
                    False,
                    "With closed_loop: windows of each step start at a random frame. With flat weights, this is the "
                    "published averaging of windows.",
                    advanced=True,
                ),
                "quick_preview": toggle(
                    False,
                    "Denoise window after window, so that the preview of a long video soon shows its beginning. An "
                    "approximation.",
                    advanced=True,
                ),
            }
        }

    def make(
        self,
        context_length,
        context_overlap,
        closed_loop,
        noise_type,
        beta_schedule,
        context_stride,
        fuse_method,
        motion_in_uncond,
        random_starts,
        quick_preview,
    ):
        from ..magicdance_core.sampling import Windows

        windows = Windows(
            context_length,
            context_overlap,
            strides=(1,) if context_stride == 1 else (1, context_stride),
            closed=closed_loop,
            weights=fuse_method,
            random=0 if random_starts else None,
        )
        noise = None if noise_type == DEFAULT else noise_type
        return (ContextOptions(windows, noise, beta_schedule, motion_in_uncond, quick_preview),)


class MagicDanceSpeedOptions:
    """Set what a run leaves out for speed."""

    SEARCH_ALIASES = ["magicdance", "speed", "fast", "guidance interval", "cfg", "skip", "cache"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Work that Sample Video Frames leaves out for speed, at a small cost in quality. At the defaults nothing is "
        "left out. The presets of Sample Video Frames are measured choices."
    )
    RETURN_TYPES = (SPEED_TYPE,)
    RETURN_NAMES = ("speed_options",)
    OUTPUT_TOOLTIPS = ("For Sample Video Frames.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                **start_and_end("guidance (cfg)", prefix="cfg_"),
                "reference_every": integer(1, 1, 50, "Run the Appearance Control Model at every n-th step only."),
                "pose_every": integer(1, 1, 50, "Run the Pose ControlNet at every n-th step only."),
            }
        }

    def make(self, cfg_start_percent, cfg_end_percent, reference_every, pose_every):
        from ..magicdance_core.sampling import Shortcuts

        return (Shortcuts((cfg_start_percent, cfg_end_percent), reference_every, pose_every),)
