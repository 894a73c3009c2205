"""Drawn people with known truth: identities, dances, pictures and their exact keypoints."""

from .body_pose import BodyPose
from .choreography import Choreography
from .draw import CLIP_SIDE, draw_puppet, puppet_clip, puppet_keypoints
from .identity import Identity

__all__ = ["CLIP_SIDE", "BodyPose", "Choreography", "Identity", "draw_puppet", "puppet_clip", "puppet_keypoints"]
