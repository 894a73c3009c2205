"""Read body keypoints back from a drawn pose map."""

import cv2
import numpy as np

from ..draw import JOINT_RADIUS, PALETTE, PUBLISHED_SHORT_SIDE
from ..keypoints import Person

# Compression changes the colours of joint discs a little; the two nearest colours of the palette are 85 apart.
TOLERANCE = 40
_VISIBLE_SHARE = 0.15


class DrawnMapDetector:
    """Finds the body joints of one person in a pose map for the Pose ControlNet, by the colours of their discs.

    Hands and face stay missing: many of their points share one colour and cannot be told apart.
    """

    def reset(self) -> None:
        """See `Detector.reset`; nothing is remembered."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See `Detector.detect`; the picture is the map. Confidence is the visible share of a joint's disc."""
        body = np.zeros((18, 3), np.float32)
        radius = JOINT_RADIUS * min(picture.shape[:2]) / PUBLISHED_SHORT_SIDE
        disc = np.pi * (radius + 0.5) ** 2
        bright = picture.max(axis=-1) > 255 - TOLERANCE  # limbs are darker
        pixels, near = picture[bright].astype(np.int16), np.zeros(picture.shape[:2], np.uint8)
        for joint, colour in enumerate(PALETTE):
            near[bright] = np.abs(pixels - colour).max(axis=-1) < TOLERANCE
            count, _, statistics, centres = cv2.connectedComponentsWithStats(near)
            if count > 1:
                largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
                share = statistics[largest, cv2.CC_STAT_AREA] / disc
                if share > _VISIBLE_SHARE:
                    body[joint] = *(centres[largest] + 0.5), min(1.0, share)
        return (Person(body),) if body.any() else ()
