"""Poses: pose maps from keypoints."""

from .comfy import progress
from .pictures import to_image


class MagicDanceDrawPoses:
    """Draw pose maps from POSE_KEYPOINT."""

    SEARCH_ALIASES = ["magicdance", "openpose", "draw keypoints", "render pose", "pose map"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Draws pose maps from keypoints, pixel for pixel as the Pose ControlNet was trained on. Takes POSE_KEYPOINT of "
        "the puppets, of DWPose and OpenPose preprocessors and of ComfyUI's own pose nodes."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("poses",)
    OUTPUT_TOOLTIPS = ("One pose map a frame, for Sample Video Frames.",)
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        def side(name: str) -> tuple:
            return (
                "INT",
                {
                    "default": 0,
                    "min": 0,
                    "max": 8192,
                    "step": 8,
                    "tooltip": f"{name} of the maps in pixels; 0 for that of the keypoints' canvas.",
                },
            )

        def part(name: str) -> tuple:
            return ("BOOLEAN", {"default": True, "tooltip": f"Draw {name}."})

        return {
            "required": {
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "People of each frame, in pixels or in fractions."}),
                "width": side("Width"),
                "height": side("Height"),
                "body": part("the body: joints and limbs"),
                "hands": part("the hands"),
                "face": part("the face's landmarks"),
            }
        }

    def draw(self, keypoints, width, height, body, hands, face):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import draw_pose, frames_from_pose_keypoint

        frames = frames_from_pose_keypoint(keypoints)
        if not frames:
            raise InputError("There are no pose frames: connect keypoints of at least one frame.")
        sizes = list(dict.fromkeys((width or frame.width, height or frame.height) for frame in frames))
        if len(sizes) > 1:
            (w0, h0), (w1, h1) = sizes[:2]
            raise InputError(f"The frames have canvases of {w0} x {h0} and {w1} x {h1} pixels: set width and height.")
        maps = [draw_pose(frame, *sizes[0], body=body, hands=hands, face=face) for frame in progress.counted(frames)]
        return (to_image(maps),)
