"""Nodes that compare pictures and videos: metrics against the truth, and a row of labelled pictures."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING

from .comfy import memory, progress
from .socket_values import to_arrays, to_image, to_pictures
from .widgets import integer, number, socket

if TYPE_CHECKING:
    from torch import Tensor

MAX_IMAGES = 8


class MagicDanceCompareFrames:
    """Compute metrics and a difference picture of two IMAGE batches."""

    SEARCH_ALIASES = ["magicdance", "psnr", "ssim", "metric", "evaluate", "difference", "flicker"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Compares frames with the true ones: PSNR, SSIM, L1 and flicker, and a picture of the difference. For tables "
        "of several methods with confidence intervals, use the evaluate command."
    )
    RETURN_TYPES = ("IMAGE", "STRING", "FLOAT", "FLOAT")
    RETURN_NAMES = ("difference", "report", "psnr", "ssim")
    OUTPUT_TOOLTIPS = (
        "The absolute difference of each frame; black where both are equal.",
        "All metrics as text, for Preview Any.",
        "PSNR in dB, mean over all frames, at most 100.",
        "SSIM, mean over all frames, at most 1.",
    )
    FUNCTION = "compare"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "frames": socket("IMAGE", "The frames to evaluate, for instance from Sample Video Frames."),
                "truth": socket("IMAGE", "The true picture of each frame, of the same size; or one for all."),
                "amplification": number(3.0, 1.0, 50.0, "Factor of the difference in its picture.", 1.0),
            }
        }

    def compare(self, frames, truth, amplification):
        from PIL import Image

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.evaluation.metrics import difference
        from ..magicdance_core.evaluation.scores import describe_scores, mean_scores, score_frames

        if len(truth) not in (1, len(frames)):
            raise InputError(
                f"`truth` has {len(truth)} pictures, `frames` has {len(frames)}: connect as many as frames, or one."
            )
        if frames.shape[1:3] != truth.shape[1:3]:
            (h0, w0), (h1, w1) = frames.shape[1:3], truth.shape[1:3]
            raise InputError(
                f"`frames` has {w0} x {h0} pixels, `truth` has {w1} x {h1}: connect pictures of one size, or scale one "
                "of them."
            )
        each = map(Image.fromarray, to_arrays(truth, "truth"))
        true: Iterable[Image.Image] = repeat(next(each), len(frames)) if len(truth) == 1 else each
        made = map(Image.fromarray, to_arrays(progress.counted(frames), "frames"))
        differences = []

        def pairs():
            for picture, target in zip(made, true):
                differences.append(difference(picture, target, amplification))
                yield picture, target

        scores = mean_scores(score_frames(pairs()))
        return to_image(differences), describe_scores(scores, len(differences)), scores["psnr"], scores["ssim"]


class MagicDanceSideBySide:
    """Arrange pictures and videos in a row."""

    SEARCH_ALIASES = ["magicdance", "side by side", "compare", "stitch", "concatenate images", "contact sheet", "label"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Arranges pictures and videos in a row, with a label over each. Small ones are enlarged by whole factors "
        "without interpolation; short ones hold their last frame. For more than 8, chain several of these nodes."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("As many frames as the longest input has, with even sides as video files need them.",)
    FUNCTION = "arrange"

    @classmethod
    def INPUT_TYPES(cls):
        labels = {"default": "", "tooltip": "Labels of the connected inputs from left to right, separated by commas."}
        others = [f"image_{k}" for k in range(2, MAX_IMAGES + 1)]
        return {
            "required": {
                "image_1": socket("IMAGE", "The leftmost picture or video."),
                "labels": ("STRING", labels),
                "enlarge": integer(
                    1,
                    1,
                    16,
                    "Factor of the tallest input. The others are enlarged by the largest whole factor that leaves them "
                    "no taller.",
                ),
            },
            "optional": dict.fromkeys(others, socket("IMAGE", "The next picture or video to the right.")),
        }

    def arrange(
        self, image_1, labels, enlarge,
        image_2=None, image_3=None, image_4=None, image_5=None, image_6=None, image_7=None, image_8=None,
    ):  # fmt: skip
        import numpy as np
        import torch

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.media.panels import blank_sheet

        given = [image_1, image_2, image_3, image_4, image_5, image_6, image_7, image_8]
        videos = {f"image_{k}": video for k, video in enumerate(given, 1) if video is not None}
        captions = [label.strip() for label in labels.split(",")] if labels.strip() else []
        if len(captions) > len(videos):
            raise InputError(
                f"`labels` has {len(captions)} labels for {len(videos)} inputs: give at most one for each."
            )

        def frame_of(name: str, index: int, factor: int = 1) -> Tensor:
            """Return a frame `[H, W, 3]`, enlarged; the last one after the end of a video."""
            video = videos[name]
            picture = to_pictures(video[min(index, len(video) - 1) :][:1], name)[0].movedim(0, -1)
            return picture.repeat_interleave(factor, 0).repeat_interleave(factor, 1)

        heights = {name: len(frame_of(name, 0)) for name in videos}
        factors = {name: max(1, enlarge * max(heights.values()) // height) for name, height in heights.items()}
        shapes = [frame_of(name, 0, factor).shape for name, factor in factors.items()]
        empty, lefts, (top,) = blank_sheet([s[1] for s in shapes], [max(s[0] for s in shapes)], captions)
        frames = torch.from_numpy(np.array(empty)).float().div_(255).repeat(max(map(len, videos.values())), 1, 1, 1)
        for index, frame in enumerate(progress.counted(frames)):
            for (name, factor), left in zip(factors.items(), lefts):
                picture = frame_of(name, index, factor)
                frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return (memory.output(frames),)
