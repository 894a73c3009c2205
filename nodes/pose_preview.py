"""Poses: the skeleton over the frame."""

from __future__ import annotations

from . import runtime
from .pictures import to_image, to_pictures


class MagicDancePreviewPose:
    """Draw skeletons over the pictures they were found in."""

    SEARCH_ALIASES = ["magicdance", "overlay", "preview skeleton", "check pose", "skeleton over image"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Lays each frame's skeleton over its picture, to see whether the poses fit. Without pictures over black; one "
        "picture is used for all frames, for instance the reference after Retarget Pose."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("preview",)
    OUTPUT_TOOLTIPS = ("Pictures with skeletons, for Preview Image or a video.",)
    FUNCTION = "preview"

    @classmethod
    def INPUT_TYPES(cls):
        def part(name: str) -> tuple:
            return ("BOOLEAN", {"default": True, "tooltip": f"Draw {name}."})

        return {
            "required": {
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "People of each frame."}),
                "opacity": (
                    "FLOAT",
                    {"default": 0.8, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": "Of the skeleton's strokes."},
                ),
                "body": part("the body: joints and limbs"),
                "hands": part("the hands"),
                "face": part("the face's landmarks"),
            },
            "optional": {"images": ("IMAGE", {"tooltip": "One picture a frame, or one for all."})},
        }

    def preview(self, keypoints, opacity, body, hands, face, images=None):
        import numpy as np

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.overlay import overlay

        frames = frames_from_pose_keypoint(keypoints)
        if not frames:
            raise InputError("There are no pose frames: connect keypoints of at least one frame.")
        if images is None:
            pictures = [np.zeros((frames[0].height, frames[0].width, 3), np.uint8)]
        else:
            pictures = (to_pictures(images, "images").movedim(1, -1) * 255).round().byte().numpy()
        if len(pictures) not in (1, len(frames)):
            raise InputError(f"There are {len(pictures)} pictures for {len(frames)} poses: connect as many, or one.")
        made = [
            overlay(pictures[k % len(pictures)], frame, opacity, body=body, hands=hands, face=face)
            for k, frame in enumerate(runtime.counted(frames))
        ]
        return (to_image(made),)
