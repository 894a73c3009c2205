"""Frames beside their truth: how far apart they are, and where."""

from .comfy import progress
from .pictures import to_arrays, to_image


class MagicDanceCompareFrames:
    """Metrics and a difference picture of two IMAGE batches."""

    SEARCH_ALIASES = ["magicdance", "psnr", "ssim", "metric", "evaluate", "difference", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Compares frames with the true ones: PSNR, SSIM, L1 and flicker, and a picture of the difference, black where "
        "they are equal. For whole tables with intervals there is the evaluate command."
    )
    RETURN_TYPES = ("IMAGE", "STRING", "FLOAT", "FLOAT")
    RETURN_NAMES = ("difference", "report", "psnr", "ssim")
    OUTPUT_TOOLTIPS = (
        "The absolute difference of each frame, black where it is none.",
        "All metrics as text, for Preview Any.",
        "Mean over all frames, in dB, at most 100.",
        "Mean over all frames, at most 1.",
    )
    FUNCTION = "compare"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "frames": ("IMAGE", {"tooltip": "The frames to judge, for instance from Sample Video Frames."}),
                "truth": ("IMAGE", {"tooltip": "The true picture of each frame, of the same size; or one for all."}),
                "amplification": (
                    "FLOAT",
                    {"default": 3.0, "min": 1.0, "max": 50.0, "step": 1.0, "tooltip": "Of the difference, to be seen."},
                ),
            }
        }

    def compare(self, frames, truth, amplification):
        from itertools import repeat

        from PIL import Image

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.evaluation.difference import difference
        from ..magicdance_core.evaluation.scores import describe, mean_scores, score_frames

        if len(truth) not in (1, len(frames)):
            raise InputError(f"There are {len(truth)} true pictures for {len(frames)} frames: connect as many, or one.")
        if frames.shape[1:3] != truth.shape[1:3]:
            raise InputError(
                f"The frames have {frames.shape[2]} x {frames.shape[1]} pixels, the truth {truth.shape[2]} x "
                f"{truth.shape[1]}: connect pictures of one size, or scale the one or the other before."
            )
        true = map(Image.fromarray, to_arrays(truth, "truth"))
        true = repeat(next(true), len(frames)) if len(truth) == 1 else true
        made = map(Image.fromarray, to_arrays(progress.counted(frames), "frames"))
        shown = []

        def pairs():
            for picture, target in zip(made, true):
                shown.append(difference(picture, target, amplification))
                yield picture, target

        scores = mean_scores(score_frames(pairs()))
        return to_image(shown), describe(scores, len(shown)), scores["psnr"], scores["ssim"]
