"""Puppets: procedurally drawn people with exact keypoints, for training, the demo and tests."""

from .body_pose import BodyPose
from .choreography import Choreography
from .identity import Identity
from .render import CLIP_SIDE, draw_puppet, draw_puppets, puppet_clip, puppet_keypoints, puppet_mask

__all__ = [
    "CLIP_SIDE",
    "BodyPose",
    "Choreography",
    "Identity",
    "draw_puppet",
    "draw_puppets",
    "puppet_clip",
    "puppet_keypoints",
    "puppet_mask",
]
