"""Masks of people by MediaPipe's selfie segmentation network; keypoints say who and where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..errors import InputError
from .keypoints import Person, PoseFrame
from .person_masks import DEFAULT_SOFTNESS, half_shoulders, hide_behind, person_mask, person_masks

if TYPE_CHECKING:
    import torch

SIDE = 256  # of the network's input
BOX_MARGIN = 1.0  # in half shoulders, of the box around a person that the network sees; nothing is masked outside
CONTRAST = 2.5  # around 0.5: the network's borders are soft, and it is hardly ever quite sure
CORE_MARGIN = -0.1  # of the slim mask of limbs and hands that is added: the network misses quick and raised hands
LEAST_SEEN = 0.5  # share of a person's bare keypoint mask that the network has to find, else keypoints decide
SEGMENTATION_MARGIN = 0.1  # in half shoulders: enough where the mask has the outline of clothes and hair


class PersonSegmenter:
    """Finds the pixels of each person in a picture.

    network: a function from uint8 [256, 256, 3], RGB, to float32 [256, 256] in [0, 1], 1 where people are.
    """

    def __init__(self, network: Callable[[np.ndarray], np.ndarray]):
        self._network = network

    @classmethod
    def from_folder(cls, folder: str | Path, device: str | torch.device = "cpu") -> PersonSegmenter:
        """Load MediaPipe's network. Raises InputError with the command that gets it if it is not there."""
        import torch

        from ..cpu import SMALL_SAMPLING, threads, threads_for
        from .detectors.mediapipe_files import SEGMENTATION, read_network
        from .detectors.tflite_network import TFLiteNetwork

        network = TFLiteNetwork(read_network(folder, SEGMENTATION)).eval().to(device)

        def run(crop: np.ndarray) -> np.ndarray:
            with torch.inference_mode(), threads(threads_for(network, small=SMALL_SAMPLING)):
                return network(torch.from_numpy(crop).to(device)[None].float() / 255)[0][0, ..., 0].cpu().numpy()

        return cls(run)

    def masks(
        self,
        picture: np.ndarray,
        frame: PoseFrame,
        margin: float = SEGMENTATION_MARGIN,
        softness: float = DEFAULT_SOFTNESS,
        hide: bool = True,
    ) -> np.ndarray:
        """Return the mask of each person of a frame, float32 `[P, H, W]` in [0, 1].

        picture: uint8 [H, W, 3], RGB, of the frame's size. Where people's boxes overlap, a pixel belongs to the person
        whose keypoints are nearest. Others: see `person_masks`. Raises InputError for a picture of another size.
        """
        if picture.shape[:2] != (frame.height, frame.width):
            raise InputError(
                f"A picture has {picture.shape[1]} x {picture.shape[0]} pixels and its keypoints a canvas of "
                f"{frame.width} x {frame.height}: give the pictures that the keypoints were found in."
            )
        bare = person_masks(frame, 0.0, 0.0)
        made = np.zeros_like(bare)
        owners = _nearest(bare > 0.5)
        for number, person in enumerate(frame.people):
            seen = self._segment(picture, person, frame) * (owners == number)
            if seen[bare[number] > 0.5].sum() < LEAST_SEEN * (bare[number] > 0.5).sum():
                made[number] = person_mask(person, frame.width, frame.height, margin, softness)
                continue
            core = person_mask(person, frame.width, frame.height, CORE_MARGIN, 0.0)
            made[number] = _finished(np.maximum(seen, core), half_shoulders(person), margin, softness)
        return hide_behind(made, frame.people) if hide else made

    def _segment(self, picture: np.ndarray, person: Person, frame: PoseFrame) -> np.ndarray:
        """Return where people are in the box of a person, float32 [H, W]; 0 outside.

        The box is stretched to the network's square, as MediaPipe stretches the whole picture.
        """
        height, width = picture.shape[:2]
        found = person_mask(person, width, height, BOX_MARGIN, 0.0) > 0
        made = np.zeros((height, width), np.float32)
        if not found.any():
            return made
        rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        crop = picture[box]
        shrunk = cv2.INTER_AREA if max(crop.shape[:2]) > SIDE else cv2.INTER_LINEAR
        seen = self._network(cv2.resize(crop, (SIDE, SIDE), interpolation=shrunk))
        seen = cv2.resize(seen, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        made[box] = ((seen - 0.5) * CONTRAST + 0.5).clip(0, 1)
        return made


def _nearest(masks: np.ndarray) -> np.ndarray:
    """Return the number of the nearest of masks, bool [P, H, W], at each pixel, [H, W]; empty ones are far away."""
    far = float(sum(masks.shape[1:]))
    distances = [
        cv2.distanceTransform(1 - mask.astype(np.uint8), cv2.DIST_L2, 3) if mask.any() else np.full(mask.shape, far)
        for mask in masks
    ]
    return np.argmin(distances, axis=0) if distances else np.zeros(masks.shape[1:], int)


def _finished(mask: np.ndarray, unit: float, margin: float, softness: float) -> np.ndarray:
    """Return a mask grown by a margin, with a soft border; both in units of `unit` pixels."""
    if (radius := round(margin * unit)) > 0:
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
    return cv2.GaussianBlur(mask, (0, 0), softness * unit) if softness * unit > 0.3 else mask
