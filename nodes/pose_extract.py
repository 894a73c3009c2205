"""Poses: one person's keypoints of pictures, or of keypoints that another node found."""

import json
from typing import Any

from ..magicdance_core.choices import DETECTORS, PEOPLE
from .comfy import files, folders, memory, progress
from .last_result import LastResult, Same
from .pictures import FPS, to_arrays, video_pictures

NUMBER = "number"  # the person of a number, beside the ways that choose by themselves


class MagicDanceExtractPose:
    """Find a person in pictures and follow them."""

    SEARCH_ALIASES = ["magicdance", "openpose", "dwpose", "detect pose", "keypoints", "track person", "pose estimation"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Finds people in each frame, follows one of them, drops detector hiccups and fills short gaps. Frames without "
        "anybody stay empty and never stop the run. Connect a video of any length, pictures, or keypoints of another "
        "detector. Detector files go to models/magicdance_pose; nothing is downloaded."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "STRING")
    RETURN_NAMES = ("keypoints", "report")
    OUTPUT_TOOLTIPS = (
        "One person at most in each frame, for Retarget Pose, Smooth Pose or Draw Poses.",
        "How many keypoints of each part were found, filled and lost, as JSON; Preview Any shows it.",
    )
    FUNCTION = "extract"

    def __init__(self):
        # so that whom to follow, and how, can be tried without looking at all pictures again
        self._found = LastResult()

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "detector": (
                    list(DETECTORS),
                    {
                        "default": DETECTORS[0],
                        "tooltip": "openpose: body_pose_model.pth, hand_pose_model.pth, facenet.pth. dwpose: "
                        "yolox_l.onnx, dw-ll_ucoco_384.onnx and the package onnxruntime. drawn: the pictures are pose "
                        "maps, read the body back.",
                    },
                ),
                "person": (
                    [*PEOPLE, NUMBER],
                    {
                        "default": PEOPLE[0],
                        "tooltip": "continuity: the one who is there most, all the way. size: the largest in each "
                        "frame. number: the one below.",
                    },
                ),
                "number": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 999,
                        "tooltip": "Which person: numbered from 0 as they appear, from the left.",
                    },
                ),
                "max_gap": (
                    "INT",
                    {
                        "default": 15,
                        "min": 0,
                        "max": 300,
                        "tooltip": "The longest gap, in frames, to fill; filled points have half the confidence.",
                    },
                ),
                "fps": FPS,
            },
            "optional": {
                "images": ("IMAGE", {"tooltip": "The frames to look at, one pose each."}),
                "video": ("VIDEO", {"tooltip": "A video to look at, read frame by frame: of Load Video."}),
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "Keypoints to follow a person in, instead of pictures."}),
            },
        }

    def extract(self, detector, person, number, max_gap, fps, images=None, video=None, keypoints=None):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.extraction import follow

        if sum(source is not None for source in (images, video, keypoints)) != 1:
            raise InputError("Connect images, video or keypoints to Extract Pose, one of the three.")
        damaged = 0
        if keypoints is not None:
            found = frames_from_pose_keypoint(keypoints)
        else:
            source = (Same(images), 0) if video is None else (Same(video), fps)
            found, damaged = self._found((detector, *source), lambda: _found(images, video, fps, detector))
        extraction = follow(found, number if person == NUMBER else person, max_gap)
        report = json.dumps(extraction.report | {"damaged": damaged}, indent=2)
        return frames_to_pose_keypoint(extraction.frames), report


def _found(images, video, fps: float, name: str) -> tuple[list, int]:
    """Everybody in each frame, and how many pictures of a video could not be decoded."""
    from ..magicdance_core.pose.extraction import detect

    detector, network = _detector(name)
    with progress.interruptible(network):
        if video is None:
            return detect(to_arrays(progress.counted(images), "images"), detector), 0
        with video_pictures(video, fps) as pictures:
            about = max(1, round(files.seconds(video) * fps))
            return detect(progress.counted(pictures, about), detector), pictures.damaged


def _detector(name: str):
    """The detector, and its torch network if it has one, in ComfyUI's keeping."""
    from ..magicdance_core.pose.detectors import detector_file, make_detector

    detector: Any = make_detector(name, folders.detector_folder(detector_file(name)))
    if name != "openpose":
        return detector, None
    held = memory.hold(detector.networks, "detector")
    memory.load([held], memory.DETECTOR_MEMORY)
    detector.device = memory.place(held)[0]
    detector.keeper = held  # ComfyUI only keeps what somebody holds
    return detector, detector.networks
