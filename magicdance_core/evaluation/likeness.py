"""What the eye looks for in a puppet, and PSNR hardly sees: expression, identity and hands.

Each asks whether a picture is nearer to the truth than to a rival that differs in nothing else, by squared error.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..pose.keypoints import PoseFrame
from ..puppets import BodyPose, Choreography, Identity, draw_puppet
from .metrics import to_float

MOUTH_AND_EYES = ("mouth_open", "mouth_width", "smile", "right_eye", "left_eye", "gaze_x", "gaze_y")
SCENE = ("background", "wall", "wall_second", "floor", "scene_accent", "horizon", "scene_shift")
# A rival's mouth is at least this much further open or shut, of 0..1: a difference that is seen at 64 pixels.
OTHER_MOUTH = 0.3
CANDIDATES = 32
STRANGER = 500_000  # added to a seed for the other person
HAND_MARGIN = 0.25  # of a hand's size, on each side of its points


def other_expression(body: BodyPose, seed: int) -> BodyPose:
    """The pose with the mouth and the eyes of another moment of an unseen dance, the mouth visibly different."""
    dance = Choreography.from_seed(STRANGER + seed, "test")
    faces = [dance.pose(9 * moment) for moment in range(CANDIDATES)]
    others = [face for face in faces if abs(face.mouth_open - body.mouth_open) >= OTHER_MOUTH]
    other = others[0] if others else max(faces, key=lambda face: abs(face.mouth_open - body.mouth_open))
    return replace(body, **{name: getattr(other, name) for name in MOUTH_AND_EYES})


def stranger(identity: Identity) -> Identity:
    """Another unseen person in the same scene: only the person can tell the two pictures apart."""
    other = Identity.from_seed(identity.seed + STRANGER, "test")
    return replace(other, **{name: getattr(identity, name) for name in SCENE})


def rivals(identity: Identity, body: BodyPose, seed: int, size: int) -> dict[str, np.ndarray]:
    """Pictures float64 [size, size, 3], [0, 1], of the truth's rivals: for expression and for identity."""
    return {
        "expression": to_float(draw_puppet(identity, other_expression(body, seed), size)),
        "identity": to_float(draw_puppet(stranger(identity), body, size)),
    }


def nearer(picture: np.ndarray, truth: np.ndarray, rival: np.ndarray) -> float:
    """1 where the picture is nearer to the truth than to the rival, 0 where it is not, 0.5 where they are as near."""
    to_truth, to_rival = ((picture - truth) ** 2).sum(), ((picture - rival) ** 2).sum()
    return float(0.5 + 0.5 * np.sign(to_rival - to_truth))


def hand_mask(frame: PoseFrame) -> np.ndarray:
    """bool [H, W]: the boxes around the hands of all people, a margin included."""
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
