"""Networks and how they are combined: PyTorch modules that are built without weights and never read files."""

from .appearance import AppearanceControlModel, ReferenceReader
from .attention import Bank, ReferenceSource, SourceAttention, downscaling, project_bank, use_source_attention
from .motion_module import MotionModule, add_temporal_hooks, apply_motion, check_motion_fits
from .networks import Networks, predict, read_pose, read_reference, size_multiple, vae_scale_factor
from .pose_controlnet import PoseControlNet, PoseResiduals
from .temporal_decoder import TemporalDecoder, apply_temporal_decoder

__all__ = [
    "AppearanceControlModel",
    "Bank",
    "MotionModule",
    "Networks",
    "PoseControlNet",
    "PoseResiduals",
    "ReferenceReader",
    "ReferenceSource",
    "downscaling",
    "SourceAttention",
    "TemporalDecoder",
    "add_temporal_hooks",
    "check_motion_fits",
    "apply_temporal_decoder",
    "apply_motion",
    "predict",
    "project_bank",
    "read_pose",
    "read_reference",
    "size_multiple",
    "use_source_attention",
    "vae_scale_factor",
]
