"""Poses: the skeleton over the frame."""

from itertools import chain, repeat

from .comfy import progress
from .pictures import FPS, to_arrays, to_image, video_pictures


class MagicDancePreviewPose:
    """Draw skeletons over the pictures they were found in."""

    SEARCH_ALIASES = ["magicdance", "overlay", "preview skeleton", "check pose", "skeleton over image"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Lays each frame's skeleton over its picture, to see whether the poses fit: over pictures, or over the video "
        "that Extract Pose looked at. One picture is used for all frames, for instance the reference after Retarget "
        "Pose. Without either over black."
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
                "fps": FPS,
            },
            "optional": {
                "images": ("IMAGE", {"tooltip": "One picture a frame, or one for all."}),
                "video": ("VIDEO", {"tooltip": "The video that Extract Pose looked at, with the same fps."}),
            },
        }

    def preview(self, keypoints, opacity, body, hands, face, fps, images=None, video=None):
        import numpy as np

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.draw import overlay

        frames = frames_from_pose_keypoint(keypoints)
        if not frames:
            raise InputError("There are no pose frames: connect keypoints of at least one frame.")
        if images is not None and video is not None:
            raise InputError("Connect images or video to Preview Pose, not both.")

        def over(pictures) -> list:
            """Each frame over its picture; over the one before where a video's cannot be read or is missing."""
            made, last = [], np.zeros((frames[0].height, frames[0].width, 3), np.uint8)
            for frame, picture in zip(progress.counted(frames), chain(pictures, repeat(None))):
                last = last if picture is None else picture
                made.append(overlay(last, frame, opacity, body=body, hands=hands, face=face))
            return made

        if video is not None:
            with video_pictures(video, fps) as pictures:
                return (to_image(over(pictures)),)
        if images is not None and len(images) not in (1, len(frames)):
            raise InputError(f"There are {len(images)} pictures for {len(frames)} poses: connect as many, or one.")
        return (to_image(over(() if images is None else to_arrays(images, "images"))),)
