"""Networks: pure functions of tensors, built without weights, never touching a disk."""

from .appearance import AppearanceControlModel
from .attention import Bank, ReferenceSource, SourceAttention, project_bank, use_source_attention
from .composition import Networks, predict, read_pose, read_reference
from .pose import PoseControlNet, PoseResiduals

__all__ = [
    "AppearanceControlModel",
    "Bank",
    "Networks",
    "PoseControlNet",
    "PoseResiduals",
    "ReferenceSource",
    "SourceAttention",
    "predict",
    "project_bank",
    "read_pose",
    "read_reference",
    "use_source_attention",
]
