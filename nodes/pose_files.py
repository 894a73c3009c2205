"""Poses: keypoint files in and out."""

from pathlib import Path

from ..magicdance_core.choices import KEYPOINT_SUFFIXES
from .comfy import files

EXAMPLES = Path(__file__).parents[1] / "magicdance_core" / "assets" / "motions"


class MagicDanceLoadKeypoints:
    """Read keypoints from a file."""

    SEARCH_ALIASES = ["magicdance", "load keypoints", "load openpose json", "pose json", "npz"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Reads keypoints from ComfyUI's input folder: .npz and .json of Save Keypoints or the extract command, "
        "POSE_KEYPOINT as JSON, or OpenPose's own JSON with 18 or 25 body points. An example comes with the pack."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "INT")
    RETURN_NAMES = ("keypoints", "frames")
    OUTPUT_TOOLTIPS = ("People of each frame.", "How many frames there are.")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        def side(name: str) -> tuple:
            return (
                "INT",
                {
                    "default": 0,
                    "min": 0,
                    "max": 16384,
                    "tooltip": f"{name} in pixels of the picture, for OpenPose's own JSON, which lacks it; else 0.",
                },
            )

        return {
            "required": {
                "file": (
                    files.input_files(KEYPOINT_SUFFIXES, EXAMPLES),
                    {"tooltip": "A .json or .npz file in the input folder, or an [example] that comes with the pack."},
                ),
                "width": side("Width"),
                "height": side("Height"),
            }
        }

    @classmethod
    def IS_CHANGED(cls, file, **sizes):
        return files.stamp(files.input_path(file, EXAMPLES))

    @classmethod
    def VALIDATE_INPUTS(cls, file):
        if file and files.stamp(files.input_path(file, EXAMPLES)):
            return True
        return f"{file or 'The file'} is not in the input folder: put it there and refresh the list (R)."

    def load(self, file, width, height):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_to_pose_keypoint
        from ..magicdance_core.pose.keypoint_files import load_keypoints

        path = files.input_path(file, EXAMPLES)
        if path is None:
            raise InputError(f"{file} is not in the input folder: put it there and choose it.")
        frames = load_keypoints(path, width or None, height or None)
        return frames_to_pose_keypoint(frames), len(frames)


class MagicDanceSaveKeypoints:
    """Write keypoints to a file."""

    SEARCH_ALIASES = ["magicdance", "save keypoints", "export openpose json", "pose json", "npz"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Writes keypoints to ComfyUI's output folder without any loss: .npz is small, .json is read by other packs "
        "and programs. Files are never overwritten."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The keypoints as they came.",)
    FUNCTION = "save"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "What to write."}),
                "filename_prefix": (
                    "STRING",
                    {"default": "keypoints/MagicDance", "tooltip": "Folder and beginning of the file's name."},
                ),
                "format": (
                    [suffix[1:] for suffix in KEYPOINT_SUFFIXES],
                    {"default": KEYPOINT_SUFFIXES[0][1:], "tooltip": "json for other programs, npz for a small file."},
                ),
            }
        }

    def save(self, keypoints, filename_prefix, format):
        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.keypoint_files import save_keypoints

        path = files.output_path(filename_prefix, f".{format}")
        save_keypoints(path, frames_from_pose_keypoint(keypoints))
        return {"ui": {"text": [str(path)]}, "result": (keypoints,)}
