"""Drawn people with known truth: identities, dances, pictures and their exact keypoints."""

from .body_pose import BodyPose
from .choreography import Choreography
from .draw import draw_puppet, puppet_keypoints
from .identity import Identity

__all__ = ["BodyPose", "Choreography", "Identity", "draw_puppet", "puppet_keypoints"]
