"""What the graph editor shows: each module's nodes, with their titles."""

from .backbone import MagicDanceFromModel, MagicDanceLoadBackbone, MagicDanceLoadPublished
from .comfy.errors import plainly
from .compare import MagicDanceCompareFrames
from .controls import MagicDanceApplyAppearance, MagicDanceApplyPose
from .motion import MagicDanceApplyMotion, MagicDanceContextOptions, MagicDanceLoadMotion
from .native import (
    MagicDanceApplyAppearanceToModel,
    MagicDanceEmptyFrames,
    MagicDanceLoadAppearance,
    MagicDanceLoadPoseControlNet,
    MagicDanceLoadPublishedAsModel,
)
from .pose_draw import MagicDanceDrawPoses
from .pose_extract import MagicDanceExtractPose
from .pose_files import MagicDanceLoadKeypoints, MagicDanceSaveKeypoints
from .pose_motion import MagicDanceRetargetPose, MagicDanceSmoothPose
from .pose_preview import MagicDancePreviewPose
from .puppets import MagicDancePuppets
from .sampling import MagicDanceSample
from .side_by_side import MagicDanceSideBySide
from .speed import MagicDanceSpeedOptions

TITLES: dict[type, str] = {
    MagicDanceLoadBackbone: "Load Backbone (MagicDance)",
    MagicDanceLoadPublished: "Load MagicDance Checkpoint",
    MagicDanceFromModel: "MagicDance from MODEL",
    MagicDanceApplyAppearance: "Apply Appearance (MagicDance)",
    MagicDanceApplyPose: "Apply Pose (MagicDance)",
    MagicDanceLoadMotion: "Load Motion Module (MagicDance)",
    MagicDanceApplyMotion: "Apply Motion Module (MagicDance)",
    MagicDanceContextOptions: "Context Options (MagicDance)",
    MagicDancePuppets: "Draw Puppets (MagicDance)",
    MagicDanceDrawPoses: "Draw Poses (MagicDance)",
    MagicDanceExtractPose: "Extract Pose (MagicDance)",
    MagicDanceRetargetPose: "Retarget Pose (MagicDance)",
    MagicDanceSmoothPose: "Smooth Pose (MagicDance)",
    MagicDancePreviewPose: "Preview Pose (MagicDance)",
    MagicDanceLoadKeypoints: "Load Keypoints (MagicDance)",
    MagicDanceSaveKeypoints: "Save Keypoints (MagicDance)",
    MagicDanceSample: "Sample Video Frames (MagicDance)",
    MagicDanceCompareFrames: "Compare Frames (MagicDance)",
    MagicDanceLoadPublishedAsModel: "Load MagicDance as MODEL",
    MagicDanceLoadPoseControlNet: "Load Pose ControlNet (MagicDance)",
    MagicDanceLoadAppearance: "Load Appearance (MagicDance)",
    MagicDanceApplyAppearanceToModel: "Apply Appearance to MODEL",
    MagicDanceEmptyFrames: "Empty Frames (MagicDance)",
    MagicDanceSpeedOptions: "Speed Options (MagicDance)",
    MagicDanceSideBySide: "Side by Side (MagicDance)",
}
NODE_CLASS_MAPPINGS: dict[str, type] = {node.__name__: plainly(node) for node in TITLES}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {node.__name__: title for node, title in TITLES.items()}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
