"""The pose of a puppet in one frame."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ..errors import InputError


@dataclass(frozen=True)
class BodyPose:
    """A pose for any identity. By default it stands still with its arms down and a slight smile.

    Sides are those of the person: right is the picture's left. Angles are in degrees. Sideways quantities without a
    side in their name are positive towards the picture's right; with a side, positive means outwards.

    Body: root_x shifts the hips in scene units; crouch lowers them (0 standing, 1 deep) and hop lifts all (1 is a high
    jump); lean, shoulder_tilt, hip_tilt and turn rotate torso, shoulder line, hip line and the chest about the spine;
    shrug lifts the shoulders (0..1).
    Head: yaw (-30..30), tilt (-25..25), nod (-18..18, positive down).
    Arms: *_arm is the upper arm's direction, 0 down, 90 outwards, 180 up; *_elbow turns the lower arm further the same
    way; *_reach and *_fore shorten upper and lower arm as they point at the viewer (1 is none); *_wrist bends the hand.
    Hands: curl of each finger and the thumb (0 straight, 1 in the fist), spread of all (0..1).
    Legs: *_foot_x and *_foot_y place the ankle, in leg lengths, outwards from the middle and up from the ground;
    *_knee says where the bent knee points: 1 outwards, 0 at the viewer, -1 inwards.
    Face: mouth_open, mouth_width, smile, brow_raise, brow_frown in -1..1 or 0..1 (open, frown), *_eye open (0..1.1),
    gaze_x and gaze_y (-1..1).
    """

    root_x: float = 0.0
    crouch: float = 0.05
    hop: float = 0.0
    lean: float = 0.0
    shoulder_tilt: float = 0.0
    hip_tilt: float = 0.0
    turn: float = 0.0
    shrug: float = 0.0
    head_yaw: float = 0.0
    head_tilt: float = 0.0
    head_nod: float = 0.0
    right_arm: float = 18.0
    right_elbow: float = 6.0
    right_reach: float = 1.0
    right_fore: float = 1.0
    right_wrist: float = 0.0
    right_thumb: float = 0.1
    right_index: float = 0.15
    right_middle: float = 0.2
    right_ring: float = 0.25
    right_pinky: float = 0.25
    right_spread: float = 0.3
    left_arm: float = 18.0
    left_elbow: float = 6.0
    left_reach: float = 1.0
    left_fore: float = 1.0
    left_wrist: float = 0.0
    left_thumb: float = 0.1
    left_index: float = 0.15
    left_middle: float = 0.2
    left_ring: float = 0.25
    left_pinky: float = 0.25
    left_spread: float = 0.3
    right_foot_x: float = 0.16
    right_foot_y: float = 0.0
    right_knee: float = 0.5
    left_foot_x: float = 0.16
    left_foot_y: float = 0.0
    left_knee: float = 0.5
    mouth_open: float = 0.0
    mouth_width: float = 0.0
    smile: float = 0.4
    brow_raise: float = 0.0
    brow_frown: float = 0.0
    right_eye: float = 1.0
    left_eye: float = 1.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0

    def __post_init__(self):
        if not np.isfinite(self.vector()).all():
            raise InputError("A body pose has a value that is not a finite number: give numbers for all fields.")

    def vector(self) -> np.ndarray:
        """Return all values in the order of the fields, float64 [n]."""
        return np.array([getattr(self, name) for name in FIELDS], dtype=np.float64)

    @classmethod
    def from_vector(cls, vector: np.ndarray) -> BodyPose:
        """Return the pose of a vector; the inverse of `vector`."""
        return cls(*vector.tolist())

    def mirrored(self) -> BodyPose:
        """Return the mirrored pose."""
        return BodyPose(**{_MIRROR.get(n, n): -getattr(self, n) if n in _SIGNED else getattr(self, n) for n in FIELDS})


FIELDS = tuple(f.name for f in fields(BodyPose))
_SIGNED = {"root_x", "lean", "shoulder_tilt", "hip_tilt", "turn", "head_yaw", "head_tilt", "gaze_x"}
_MIRROR = {
    f"{side}_{rest}": f"{other}_{rest}"
    for side, other in (("right", "left"), ("left", "right"))
    for rest in (name.split("_", 1)[1] for name in FIELDS if name.startswith(f"{side}_"))
}

# Joint limits: every pose of a choreography stays within them.
_LIMITS = {
    "root_x": (-0.085, 0.085), "crouch": (0, 1), "hop": (0, 1), "lean": (-22, 22), "shoulder_tilt": (-16, 16),
    "hip_tilt": (-14, 14), "turn": (-35, 35), "shrug": (0, 1), "head_yaw": (-30, 30), "head_tilt": (-25, 25),
    "head_nod": (-18, 18), "arm": (-35, 180), "elbow": (-150, 150), "reach": (0.45, 1), "fore": (0.45, 1),
    "wrist": (-60, 60), "foot_x": (-0.35, 0.8), "foot_y": (0, 0.75), "knee": (-1, 1), "eye": (0, 1.1),
    "smile": (-1, 1), "mouth_width": (-1, 1), "brow_raise": (-1, 1), "gaze_x": (-1, 1), "gaze_y": (-1, 1),
}  # fmt: skip
_PAIRS = [_LIMITS.get(n, _LIMITS.get(n.split("_", 1)[-1], (0, 1))) for n in FIELDS]
LOWEST = np.array([low for low, _ in _PAIRS], dtype=np.float64)
HIGHEST = np.array([high for _, high in _PAIRS], dtype=np.float64)
