"""Speed: what sampling leaves out."""

from .model import SPEED_TYPE


class MagicDanceSpeedOptions:
    """What a run leaves out for speed."""

    SEARCH_ALIASES = ["magicdance", "speed", "fast", "guidance interval", "cfg", "skip", "cache"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "What Sample Video Frames leaves out for speed, each at a little of the quality. At these values nothing is "
        "left out; the presets of Sample Video Frames hold measured choices."
    )
    RETURN_TYPES = (SPEED_TYPE,)
    RETURN_NAMES = ("speed_options",)
    OUTPUT_TOOLTIPS = ("For Sample Video Frames.",)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        part = {"min": 0.0, "max": 1.0, "step": 0.01, "round": 0.001}
        every = {"default": 1, "min": 1, "max": 50}
        return {
            "required": {
                "guidance_start": (
                    "FLOAT",
                    {
                        "default": 0.0,
                        **part,
                        "tooltip": "From which part of the run on guidance acts: 0 is the first step.",
                    },
                ),
                "guidance_end": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        **part,
                        "tooltip": "Up to which part of the run guidance acts; the rest is half the work.",
                    },
                ),
                "reference_every": (
                    "INT",
                    {**every, "tooltip": "Steps from one reading of the reference to the next."},
                ),
                "pose_every": ("INT", {**every, "tooltip": "Steps from one run of the Pose ControlNet to the next."}),
            }
        }

    def make(self, guidance_start, guidance_end, reference_every, pose_every):
        from ..magicdance_core.sampling import Shortcuts

        return (Shortcuts((guidance_start, guidance_end), reference_every, pose_every),)
