"""Pictures and videos side by side, to compare them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .comfy import memory, progress
from .pictures import to_pictures

if TYPE_CHECKING:
    from torch import Tensor

MOST = 8
OPTIONAL = [f"image_{number}" for number in range(2, MOST + 1)]


class MagicDanceSideBySide:
    """Pictures and videos in a row."""

    SEARCH_ALIASES = ["magicdance", "side by side", "compare", "stitch", "concatenate images", "contact sheet", "label"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Puts pictures and videos in a row, with a label over each. Small ones are enlarged by whole factors, so that "
        "their pixels stay what they are; short ones hold their last frame. For more than 8, put one of these nodes "
        "behind another."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("As many frames as the longest input has, with even sides as videos need them.",)
    FUNCTION = "arrange"

    @classmethod
    def INPUT_TYPES(cls):
        def image(tooltip: str) -> tuple:
            return ("IMAGE", {"tooltip": tooltip})

        return {
            "required": {
                "image_1": image("The leftmost picture or video."),
                "labels": (
                    "STRING",
                    {"default": "", "tooltip": "A label for each connected input, from the left, with commas between."},
                ),
                "enlarge": (
                    "INT",
                    {
                        "default": 1,
                        "min": 1,
                        "max": 16,
                        "tooltip": "Factor of the tallest input; the others come as near to its height as a whole "
                        "factor of theirs does.",
                    },
                ),
            },
            "optional": dict.fromkeys(OPTIONAL, image("The next one to the right.")),
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
        videos = {f"image_{number}": video for number, video in enumerate(given, 1) if video is not None}
        captions = [label.strip() for label in labels.split(",")] if labels.strip() else []
        if len(captions) > len(videos):
            raise InputError(f"There are {len(captions)} labels for {len(videos)} inputs: give one each.")

        def frame_of(name: str, number: int, factor: int = 1) -> Tensor:
            """`[H, W, 3]`, enlarged; the last one where the video has ended."""
            video = videos[name]
            picture = to_pictures(video[min(number, len(video) - 1) :][:1], name)[0].movedim(0, -1)
            return picture.repeat_interleave(factor, 0).repeat_interleave(factor, 1)

        heights = {name: len(frame_of(name, 0)) for name in videos}
        factors = {name: max(1, enlarge * max(heights.values()) // height) for name, height in heights.items()}
        shapes = [frame_of(name, 0, factor).shape for name, factor in factors.items()]
        empty, lefts, (top,) = blank_sheet([s[1] for s in shapes], [max(s[0] for s in shapes)], captions)
        frames = torch.from_numpy(np.array(empty)).float().div_(255).repeat(max(map(len, videos.values())), 1, 1, 1)
        for number, frame in enumerate(progress.counted(frames)):
            for (name, factor), left in zip(factors.items(), lefts):
                picture = frame_of(name, number, factor)
                frame[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return (memory.output(frames),)
