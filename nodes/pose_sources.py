"""Nodes that keypoints come from and go to: pose detection in pictures, and keypoint files."""

import json
from pathlib import Path
from typing import Any

from ..magicdance_core.checks import shown
from ..magicdance_core.choices import DETECTORS, KEYPOINT_SUFFIXES, PEOPLE, TORCH_DETECTORS
from .comfy import folders, memory, messages, progress, user_files
from .model_files import LastResult, SameObject
from .socket_values import to_arrays, video_audio, video_pictures
from .widget_checks import LINKED
from .widgets import choice, integer, number, socket, video_fps

INDEX = "index"  # choice of `person` that takes the widget `person_index`, beside the core's automatic ones
MIN_SCORE = "Keypoints of other programs with a lower score are left out; those of this pack are all taken."
EXAMPLES = Path(__file__).parents[1] / "magicdance_core" / "assets" / "motions"


class MagicDanceExtractPose:
    """Detect people in pictures or a video, and follow one of them."""

    SEARCH_ALIASES = [
        "pose video",
        "dance video",
        "magicdance",
        "openpose",
        "dwpose",
        "mediapipe",
        "detect pose",
        "keypoints",
        "track person",
        "pose estimation",
    ]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Detects the people in each frame, follows one of them, removes outliers and fills short gaps. Frames without "
        "a person stay empty and do not stop the run. Connect pictures, a video of any length, or keypoints of another "
        "detector. Detector files go to models/magicdance_pose; nothing is downloaded."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "STRING", "AUDIO", "FLOAT")
    RETURN_NAMES = ("keypoints", "report", "audio", "fps")
    OUTPUT_TOOLTIPS = (
        "At most one person in each frame, for Retarget Pose, Smooth Pose or Draw Poses.",
        "JSON: the detector and why it was used, how many keypoints of each body part were found, filled and lost, "
        "and what is missing in words. For Preview Any.",
        "The sound of `video`, for Create Video; nothing if it has none.",
        "Frames per second of the keypoints, for Create Video.",
    )
    FUNCTION = "extract"

    def __init__(self) -> None:
        self._detected = LastResult()  # another person or max_gap does not run the detector again
        self._remarks = messages.Remarks(type(self).__name__)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "detector": choice(
                    DETECTORS,
                    "auto: the first of dwpose, openpose and mediapipe whose files are there. dwpose: needs "
                    "yolox_l.onnx, dw-ll_ucoco_384.onnx and the package onnxruntime. openpose: needs "
                    "body_pose_model.pth, hand_pose_model.pth and facenet.pth. mediapipe: needs the wheel of mediapipe "
                    "0.10.21 and nothing installed. drawn: the pictures are pose maps; their bodies are read back.",
                ),
                "person": choice(
                    [*PEOPLE, INDEX],
                    "Which person to follow. continuity: the one seen in most frames. size: the largest in each "
                    "frame. all: everybody. index: the one of `person_index`.",
                ),
                "person_index": integer(
                    0, 0, 999, "With person = index: people are numbered from 0 in order of appearance, from the left."
                ),
                "max_gap": integer(
                    15,
                    0,
                    300,
                    "Longest gap in frames that is filled by interpolation. Filled keypoints get half the confidence.",
                    advanced=True,
                ),
                "fps": video_fps(),
                "min_score": number(0.3, 0.0, 1.0, MIN_SCORE, advanced=True),
            },
            "optional": {
                "images": socket("IMAGE", "Frames to detect people in."),
                "video": socket("VIDEO", "A video to detect people in, from Load Video; read frame by frame."),
                "keypoints": socket("POSE_KEYPOINT", "Keypoints to follow a person in, instead of pictures."),
            },
        }

    def extract(self, detector, person, person_index, max_gap, fps, min_score, images=None, video=None, keypoints=None):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.extraction import follow

        if (connected := sum(source is not None for source in (images, video, keypoints))) != 1:
            raise InputError(f"Extract Pose has {connected} sources: connect one of `images`, `video` and `keypoints`.")
        how: dict[str, Any] = {"damaged": 0}
        if keypoints is not None:
            people = frames_from_pose_keypoint(keypoints, threshold=min_score)
        else:
            source = (SameObject(images), 0) if video is None else (SameObject(video), fps)
            people, how = self._detected((detector, *source), lambda: _detect(images, video, fps, detector))
        extraction = follow(people, person_index if person == INDEX else person, max_gap)
        self._remarks.show(_nobody(extraction.report | how))
        report = json.dumps(extraction.report | how, indent=2)
        return frames_to_pose_keypoint(extraction.frames), report, None if video is None else video_audio(video), fps


class MagicDanceLoadKeypoints:
    """Read keypoints from a file."""

    SEARCH_ALIASES = ["magicdance", "load keypoints", "load openpose json", "pose json", "npz"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Reads keypoints from ComfyUI's input folder: .npz and .json files of Save Keypoints or the extract command, "
        "POSE_KEYPOINT as JSON, or OpenPose's own JSON with 18 or 25 body points. An example comes with the pack."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "INT")
    RETURN_NAMES = ("keypoints", "frames")
    OUTPUT_TOOLTIPS = ("The people of each frame.", "The number of frames.")
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "{} of the picture in pixels, for OpenPose's own JSON, which does not state it. 0: as in the file."
        return {
            "required": {
                "file": choice(
                    user_files.input_files(KEYPOINT_SUFFIXES, EXAMPLES),
                    "A .json or .npz file in the input folder, or an [example] that comes with the pack.",
                ),
                "width": integer(0, 0, 16384, tooltip.format("Width"), advanced=True),
                "height": integer(0, 0, 16384, tooltip.format("Height"), advanced=True),
                "min_score": number(0.3, 0.0, 1.0, MIN_SCORE, advanced=True),
            }
        }

    @classmethod
    def IS_CHANGED(cls, file=LINKED, **sizes):
        if file is LINKED:
            return float("nan")  # never equal to itself: read again
        return user_files.stamp(user_files.input_path(file, EXAMPLES))

    @classmethod
    def VALIDATE_INPUTS(cls, file=LINKED):
        if file is LINKED or file and user_files.stamp(user_files.input_path(file, EXAMPLES)):
            return True
        return f"{shown(file) or 'The file'} is not in the input folder: put it there and refresh the list (R)."

    def load(self, file, width, height, min_score):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_to_pose_keypoint
        from ..magicdance_core.pose.keypoint_files import load_keypoints

        path = user_files.input_path(file, EXAMPLES)
        if path is None:
            raise InputError(f"{shown(file)} is not in the input folder: put it there and choose it.")
        frames = load_keypoints(path, width or None, height or None, threshold=min_score)
        return frames_to_pose_keypoint(frames), len(frames)


class MagicDanceSaveKeypoints:
    """Write keypoints to a file."""

    SEARCH_ALIASES = ["magicdance", "save keypoints", "export openpose json", "pose json", "npz"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Writes keypoints to ComfyUI's output folder without loss: .json for other packs and programs, .npz for small "
        "files. Existing files are never overwritten."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The same keypoints.",)
    FUNCTION = "save"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        prefix = {"default": "keypoints/MagicDance", "tooltip": "Folder and first part of the file name."}
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", "The keypoints to write."),
                "filename_prefix": ("STRING", prefix),
                "format": choice(
                    [suffix[1:] for suffix in KEYPOINT_SUFFIXES], "json: for other programs. npz: a small file."
                ),
            }
        }

    def save(self, keypoints, filename_prefix, format):
        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.keypoint_files import save_keypoints

        path = user_files.output_path(filename_prefix, f".{format}")
        save_keypoints(path, frames_from_pose_keypoint(keypoints, threshold=0.0))
        return {"ui": {"text": [str(path)]}, "result": (keypoints,)}


def _nobody(report: dict) -> list[str]:
    """Return a sentence with the remedy if no frame has a person, for keypoints without a detector, too."""
    if report["frames_with_person"]:
        return []
    detector, frames = report.get("detector"), report["frames"]
    if detector is None:
        return [f"Check the keypoints: they have nobody in {frames} of {frames} frames."]
    remedy = "Connect pose maps or change the detector" if detector == "drawn" else "Check the pictures"
    return [f"{remedy}: `{detector}` found nobody in {frames} of {frames} frames."]


def _detect(images, video, fps: float, name: str) -> tuple[list, dict[str, Any]]:
    """Return all people of each frame, and for the report the detector and the number of damaged frames of a video."""
    from ..magicdance_core.pose.detectors import choose_detector
    from ..magicdance_core.pose.extraction import detect

    chosen = choose_detector(name, folders.detector_folder)
    how = {"detector": chosen.name, "detector_reason": chosen.reason}
    detector, network = _make_detector(chosen)
    with progress.interruptible(network):
        if video is None:
            return detect(to_arrays(progress.counted(images), "images"), detector), how | {"damaged": 0}
        with video_pictures(video, fps) as pictures:
            count = max(1, round(user_files.seconds(video) * fps))
            return detect(progress.counted(pictures, count), detector), how | {"damaged": pictures.damaged}


def _make_detector(chosen):
    """Return a detector, and its network under ComfyUI's memory management; None if it has no torch network."""
    from ..magicdance_core.pose.detectors import make_detector

    detector: Any = make_detector(chosen.name, chosen.folder)
    if chosen.name not in TORCH_DETECTORS:
        return detector, None
    held = memory.hold(detector.networks, "detector")
    memory.load([held], memory.DETECTOR_MEMORY)
    detector.device = memory.device_and_dtype(held)[0]
    detector.keeper = held  # ComfyUI itself keeps a weak reference only
    return detector, detector.networks
