"""What can be said of each frame of a video beside its truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from ..errors import InputError
from ..pose.detectors.detector import Detector
from ..pose.keypoints import PoseFrame
from .bootstrap import mean_of_all
from .metrics import WINDOW, flicker, grey, l1, psnr, published_l1, published_psnr, ssim, to_float

if TYPE_CHECKING:
    from .features import Lpips  # its networks take seconds to import; frames alone are compared without

PIXEL_SCORES = ("psnr", "psnr_published", "ssim", "l1", "l1_published", "flicker_still", "flicker_moving")


def score_frames(
    pairs: Iterable[tuple[Image.Image, Image.Image]], lpips: Lpips | None = None, published: bool = False
) -> dict[str, np.ndarray]:
    """Of pairs (generated, true) a value a frame, float64 [F], by PIXEL_SCORES and lpips; see metrics for each.

    Without a frame of the same size before it there is no change, and flicker is NaN. published: LPIPS is fed as the
    published evaluation feeds it, and generated frames of another size are resized to the true ones' (bilinear);
    without it they are an error. resized: whether a frame was. width, height: of the true frames.
    Raises InputError where sizes differ that must not, and for pictures under 7 pixels a side.
    """
    rows, before = [], None
    for number, (made, true) in enumerate(pairs):
        picture, target = np.asarray(made), np.asarray(true)
        if min(true.size) < WINDOW:
            raise InputError(f"Frame {number} has {true.width} x {true.height} pixels; give at least 7 x 7.")
        resized = picture.shape != target.shape
        if resized and not published:
            raise InputError(
                f"Frame {number} has {made.width} x {made.height} pixels, its truth {true.width} x {true.height}; "
                "give frames of the same size, or --protocol published, which resizes them."
            )
        if resized:
            picture = cv2.resize(picture, true.size)
        now = to_float(picture), to_float(target)
        row = {
            "psnr": psnr(*now),
            "psnr_published": published_psnr(picture, target),
            "ssim": ssim(grey(picture), grey(target)),
            "l1": l1(*now),
            "l1_published": published_l1(*now),
            "resized": float(resized),
            "width": true.width,
            "height": true.height,
        }
        changes = (np.nan, np.nan)
        if before is not None and before[1].shape == target.shape:
            changes = flicker(now[0], before[0], now[1], before[1])
        row |= zip(("flicker_still", "flicker_moving"), changes)
        if lpips is not None:
            row["lpips"] = lpips(picture, target, signed=not published)
        rows.append(row)
        before = now
    if not rows:
        raise InputError("There are no frames to compare; give at least one.")
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]}


class PoseViewer:
    """The body of the largest person in each frame: float32 [18, 3], x and y in picture heights, then confidence."""

    name, window = "pose", 1

    def __init__(self, detector: Detector):
        self.detector = detector

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        return body_points(PoseFrame(self.detector.detect(frame), frame.shape[1], frame.shape[0]))

    def view(self, prepared: np.ndarray) -> np.ndarray:
        return prepared


def body_points(frame: PoseFrame) -> np.ndarray:
    """What PoseViewer gives, of known keypoints; zeros where there is nobody."""
    points = np.zeros((18, 3), np.float32)
    if frame.people:
        points = max((person.body for person in frame.people), key=_extent).astype(np.float32)
        points[:, :2] /= frame.height
        points[points[:, 2] <= 0] = 0
    return points


def _extent(body: np.ndarray) -> float:
    shown = body[body[:, 2] > 0, :2]
    return float(np.ptp(shown, axis=0).prod()) if len(shown) else -1.0


def pose_scores(made: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """How well frames keep to the driving pose, of body points [F, 18, 3].

    pose_error: mean distance of the points that both have, in percent of the picture's height, NaN where there are
    none; pose_found: share of the true points that are found in the generated frame, NaN where truth has none.
    """
    if len(made) != len(true):
        raise InputError(f"There are keypoints for {len(true)} frames, not for {len(made)}; give one of each frame.")
    shown, both = true[..., 2] > 0, (true[..., 2] > 0) & (made[..., 2] > 0)
    distance = np.linalg.norm(made[..., :2] - true[..., :2], axis=-1)
    with np.errstate(invalid="ignore"):
        return {
            "pose_error": 100 * (distance * both).sum(axis=1) / both.sum(axis=1),
            "pose_found": both.sum(axis=1) / shown.sum(axis=1),
        }


def keypoints_as_features(frames: Sequence[PoseFrame]) -> np.ndarray:
    """Known keypoints in the place of a detector's: float32 [F, 18, 3]."""
    return np.stack([body_points(frame) for frame in frames])


def mean_scores(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean over the frames that have a value; NaN where none has."""
    return {name: mean_of_all([values]) for name, values in scores.items()}


def describe(means: dict[str, float], frames: int) -> str:
    """A few lines for people."""
    lines = [f"{frames} frame{'s' if frames != 1 else ''}", f"PSNR {means['psnr']:.2f} dB", f"SSIM {means['ssim']:.4f}"]
    lines.append(f"L1 {means['l1']:.4f}")
    for name, where in (("flicker_still", "what stands still"), ("flicker_moving", "what moves")):
        if means[name] == means[name]:
            lines.append(f"flicker {means[name]:.4f} in {where}")
    return "\n".join(lines)
