"""What is behind the people of a video: from other frames where the camera stands, else guessed from around."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import InputError

SAMPLES = 31  # frames that the median is taken of, evenly spread
MOVES = 12.0  # mean difference in 1/255 of what surrounds people from its median, from which the camera moves
INPAINT_RADIUS = 3
RING = 0.03  # width of the surroundings by which a patch's brightness is matched, in short sides of the picture


@dataclass(frozen=True)
class CleanPlate:
    """A still picture of a scene without its people.

    picture: uint8 [H, W, 3], RGB. unknown: share of what people ever cover that no frame shows; it is guessed from
    around. moves: whether the camera moves, so that patches may not fit.
    """

    picture: np.ndarray
    unknown: float
    moves: bool

    def fill(self, frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Return a frame, uint8 [H, W, 3], with the plate where the mask [H, W] in [0, 1] says.

        The plate's brightness is that of the frame around the mask. Outside of it the frame stays to the bit.
        """
        covered = mask > 0
        if not covered.any():
            return frame
        size = 2 * max(1, round(RING * min(frame.shape[:2]))) + 1
        ring = (cv2.dilate(covered.astype(np.uint8), np.ones((size, size), np.uint8)) > 0) & ~covered
        plate = self.picture.astype(np.float32)
        if ring.any():
            plate = plate + np.median(frame[ring].astype(np.float32) - plate[ring], axis=0)
        weight = mask[..., None].astype(np.float32)
        blended = frame * (1 - weight) + plate * weight
        return np.where(covered[..., None], blended.clip(0, 255).round(), frame).astype(np.uint8)


def clean_plate(frames: Iterable[np.ndarray], masks: Iterable[np.ndarray], count: int) -> CleanPlate:
    """Return what a video shows without its people.

    frames: `count` pictures, uint8 [H, W, 3] of one size. masks: of all people of each, [H, W] in [0, 1], generous.
    Raises InputError if there are no frames, or not as many masks.
    """
    wanted = set(np.linspace(0, count - 1, min(count, SAMPLES)).round().astype(int).tolist())
    kept, hidden, number = [], [], -1
    for number, (frame, mask) in enumerate(zip(frames, masks)):
        if number in wanted:
            kept.append(frame)
            hidden.append(mask > 0)
    if not kept or number + 1 < count:
        raise InputError(f"The background has {number + 1} frames with masks and {count} are needed: give one of each.")
    pictures, covered = np.stack(kept), np.stack(hidden)
    seen = ~covered
    median = _median(pictures, seen)
    unknown = ~seen.any(axis=0)
    away = np.abs(pictures.astype(np.int16) - median.astype(np.int16)).mean(axis=-1)
    moves = bool(seen.any() and float(away[seen].mean()) > MOVES)
    ever = covered.any(axis=0)
    if unknown.any():
        median = cv2.inpaint(median, unknown.astype(np.uint8), INPAINT_RADIUS, cv2.INPAINT_TELEA)
    return CleanPlate(median, float(unknown.sum() / ever.sum()) if ever.any() else 0.0, moves)


def _median(pictures: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the median over time of what is seen, uint8 [H, W, 3]; 0 where nothing is. Row by row, to save memory."""
    made = np.zeros(pictures.shape[1:], np.uint8)
    for row in range(pictures.shape[1]):
        values = np.ma.masked_array(pictures[:, row], np.repeat(~seen[:, row, :, None], 3, axis=-1))
        made[row] = np.ma.median(values, axis=0).filled(0).round()
    return made
