"""Keypoints of people: files, detectors, tracking, smoothing, retargeting, and the pose maps drawn from them."""

from .draw import draw_pose, draw_pose_strokes
from .keypoint_json import frames_from_pose_keypoint, frames_to_pose_keypoint
from .keypoints import Person, PoseFrame

__all__ = [
    "Person",
    "PoseFrame",
    "draw_pose",
    "draw_pose_strokes",
    "frames_from_pose_keypoint",
    "frames_to_pose_keypoint",
]
