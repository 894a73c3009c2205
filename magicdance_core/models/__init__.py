"""Networks: pure functions of tensors, built without weights, never touching a disk."""

from .appearance import AppearanceControlModel
from .attention import Bank, ReferenceSource, SourceAttention, project_bank, use_source_attention
from .composition import Networks, predict, read_pose, read_reference
from .motion import MotionModule, add_motion_slots, check_motion_fits, in_motion
from .pose import PoseControlNet, PoseResiduals
from .reference import ReferenceReader

__all__ = [
    "AppearanceControlModel",
    "Bank",
    "MotionModule",
    "Networks",
    "PoseControlNet",
    "PoseResiduals",
    "ReferenceReader",
    "ReferenceSource",
    "SourceAttention",
    "add_motion_slots",
    "check_motion_fits",
    "in_motion",
    "predict",
    "project_bank",
    "read_pose",
    "read_reference",
    "use_source_attention",
]
