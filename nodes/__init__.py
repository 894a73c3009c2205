"""The nodes that ComfyUI registers, and their titles."""

from .comfy.messages import with_plain_errors
from .compare_frames import MagicDanceCompareFrames, MagicDanceSideBySide
from .controls import MagicDanceApplyAppearance, MagicDanceApplyMotion, MagicDanceApplyPose, MagicDanceLoadMotion
from .draw_puppets import MagicDancePuppets
from .loaders import MagicDanceFromModel, MagicDanceLoadBackbone, MagicDanceLoadPublished
from .motion_editing import MagicDanceEditExpression, MagicDanceMatchBeat
from .native import (
    MagicDanceApplyAppearanceToModel,
    MagicDanceEmptyFrames,
    MagicDanceLoadAppearance,
    MagicDanceLoadPoseControlNet,
    MagicDanceLoadPublishedAsModel,
)
from .pose_editing import MagicDanceDrawPoses, MagicDancePreviewPose, MagicDanceRetargetPose, MagicDanceSmoothPose
from .pose_sources import MagicDanceExtractPose, MagicDanceLoadKeypoints, MagicDanceSaveKeypoints
from .refine_faces import MagicDanceRefineFaces
from .sample_to_disk import MagicDanceSampleToDisk
from .sampling import MagicDanceSample
from .sampling_options import MagicDanceContextOptions, MagicDanceSpeedOptions
from .scene import (
    MagicDanceAddRegion,
    MagicDanceCleanPlate,
    MagicDanceCombinePeople,
    MagicDancePersonMask,
    MagicDanceSelectPerson,
)
from .widget_checks import with_checked_widgets

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
    MagicDanceSampleToDisk: "Sample to Disk (MagicDance)",
    MagicDanceCompareFrames: "Compare Frames (MagicDance)",
    MagicDanceLoadPublishedAsModel: "Load MagicDance as MODEL",
    MagicDanceLoadPoseControlNet: "Load Pose ControlNet (MagicDance)",
    MagicDanceLoadAppearance: "Load Appearance (MagicDance)",
    MagicDanceApplyAppearanceToModel: "Apply Appearance to MODEL",
    MagicDanceEmptyFrames: "Empty Frames (MagicDance)",
    MagicDanceSpeedOptions: "Speed Options (MagicDance)",
    MagicDanceSideBySide: "Side by Side (MagicDance)",
    MagicDanceRefineFaces: "Refine Faces (MagicDance)",
    MagicDanceEditExpression: "Edit Expression (MagicDance)",
    MagicDanceMatchBeat: "Match to Beat (MagicDance)",
    MagicDanceSelectPerson: "Select Person (MagicDance)",
    MagicDanceCombinePeople: "Combine People (MagicDance)",
    MagicDancePersonMask: "Person Mask (MagicDance)",
    MagicDanceAddRegion: "Add Region (MagicDance)",
    MagicDanceCleanPlate: "Clean Plate (MagicDance)",
}
NODE_CLASS_MAPPINGS: dict[str, type] = {node.__name__: with_plain_errors(with_checked_widgets(node)) for node in TITLES}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {node.__name__: title for node, title in TITLES.items()}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
