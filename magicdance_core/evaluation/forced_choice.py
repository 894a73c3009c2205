"""Forced choices that show what PSNR hardly does: expression and identity of drawn people; and where their hands are.

Is a picture nearer, in squared error, to the truth or to a distractor that differs from it in one thing only?
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..pose.keypoints import PoseFrame
from ..puppets import BodyPose, Choreography, Identity, draw_puppet
from .metrics import to_float

MOUTH_AND_EYES = ("mouth_open", "mouth_width", "smile", "right_eye", "left_eye", "gaze_x", "gaze_y")
BACKGROUND = ("background", "wall", "wall_second", "floor", "scene_accent", "horizon", "scene_shift")
# Least difference of how far a distractor's mouth is open, in [0, 1]: visible at 64 pixels.
MIN_MOUTH_DIFFERENCE = 0.3
CANDIDATES = 32
OTHER_SEED = 500_000  # added to a seed for another person or dance
HAND_MARGIN = 0.25  # of a hand's size, on each side of its points


def other_expression(body: BodyPose, seed: int) -> BodyPose:
    """Return the pose with mouth and eyes of a moment of an unseen dance, the mouth visibly different."""
    dance = Choreography.from_seed(OTHER_SEED + seed, "test")
    faces = [dance.pose(9 * moment) for moment in range(CANDIDATES)]
    others = [face for face in faces if abs(face.mouth_open - body.mouth_open) >= MIN_MOUTH_DIFFERENCE]
    other = others[0] if others else max(faces, key=lambda face: abs(face.mouth_open - body.mouth_open))
    return replace(body, **{name: getattr(other, name) for name in MOUTH_AND_EYES})


def other_person(identity: Identity) -> Identity:
    """Return another unseen person before the same background."""
    other = Identity.from_seed(identity.seed + OTHER_SEED, "test")
    return replace(other, **{name: getattr(identity, name) for name in BACKGROUND})


def distractors(identity: Identity, body: BodyPose, seed: int, size: int) -> dict[str, np.ndarray]:
    """Draw what the truth could be confused with: float64 [size, size, 3] in [0, 1], by "expression" and "identity"."""
    return {
        "expression": to_float(draw_puppet(identity, other_expression(body, seed), size)),
        "identity": to_float(draw_puppet(other_person(identity), body, size)),
    }


def prefers_truth(picture: np.ndarray, truth: np.ndarray, distractor: np.ndarray) -> float:
    """Return 1 if the picture is nearer to the truth than to the distractor, 0 if it is not, 0.5 if they are equal."""
    to_truth, to_distractor = ((picture - truth) ** 2).sum(), ((picture - distractor) ** 2).sum()
    return float(0.5 + 0.5 * np.sign(to_distractor - to_truth))


def hand_mask(frame: PoseFrame) -> np.ndarray:
    """Return bool [H, W], true in the boxes around the hands of all people, with a margin."""
    mask = np.zeros((frame.height, frame.width), dtype=bool)
    for person in frame.people:
        for hand in (person.left_hand, person.right_hand):
            shown = hand[hand[:, 2] > 0, :2]
            if len(shown) == 0:
                continue
            low, high = shown.min(axis=0), shown.max(axis=0)
            margin = np.maximum(HAND_MARGIN * (high - low).max(), 1)
            left, top = np.maximum(np.floor(low - margin), 0).astype(int)
            right, bottom = np.maximum(np.ceil(high + margin), 0).astype(int)
            mask[top:bottom, left:right] = True
    return mask
