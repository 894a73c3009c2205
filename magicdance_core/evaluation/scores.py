"""Scores of each frame of a video against its truth, and the comparison of two folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..errors import InputError
from ..media import read_frames
from ..pose.detectors.detector import Detector
from ..pose.keypoints import PoseFrame
from .bootstrap import mean_of_all
from .metrics import WINDOW, flicker, grey, l1, psnr, published_l1, published_psnr, ssim, to_float
from .videos import frame_pairs

if TYPE_CHECKING:
    from .features import Lpips  # imports torch, which comparing pixels does without

PIXEL_SCORES = ("psnr", "psnr_published", "ssim", "l1", "l1_published", "flicker_still", "flicker_moving")


def score_frames(
    pairs: Iterable[tuple[Image.Image, Image.Image]], lpips: Lpips | None = None, published: bool = False
) -> dict[str, np.ndarray]:
    """Score pairs (generated, true).

    Returns float64 [F] for each of PIXEL_SCORES (see metrics), lpips with that network, resized (1 if a frame was), and
    width and height of the true frames. Flicker is NaN if there is no frame of the same size before.
    published: LPIPS gets the published evaluation's input, and generated frames of another size are resized to the
    true ones' (bilinear).
    Raises InputError if sizes differ otherwise, for pictures under 7 pixels a side, and for no frames.
    """
    rows: list[dict[str, float]] = []
    before: tuple[np.ndarray, np.ndarray] | None = None
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


class PoseExtractor:
    """Body points of the largest person in a frame: float32 [18, 3], x and y in picture heights, confidence."""

    name, window = "pose", 1

    def __init__(self, detector: Detector):
        self.detector = detector

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        return body_points(PoseFrame(self.detector.detect(frame), frame.shape[1], frame.shape[0]))

    def extract(self, prepared: np.ndarray) -> np.ndarray:
        return prepared


def body_points(frame: PoseFrame) -> np.ndarray:
    """Return what PoseExtractor does, from known keypoints; zeros if there is nobody."""
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
    """Compare body points [F, 18, 3] of generated frames with those of the driving pose.

    Returns pose_error, the mean distance of the points that both have, in percent of the picture's height, NaN if there
    are none; and pose_found, the share of the true points found in the generated frame, NaN if truth has none.
    Raises InputError if the numbers of frames differ.
    """
    if len(made) != len(true):
        raise InputError(f"There are keypoints for {len(true)} frames, not for {len(made)}; give one of each frame.")
    known = true[..., 2] > 0
    found = known & (made[..., 2] > 0)
    distance = np.linalg.norm(made[..., :2] - true[..., :2], axis=-1)
    with np.errstate(invalid="ignore"):
        return {
            "pose_error": 100 * (distance * found).sum(axis=1) / found.sum(axis=1),
            "pose_found": found.sum(axis=1) / known.sum(axis=1),
        }


def mean_scores(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Return means over the frames that have a value; NaN if none has."""
    return {name: mean_of_all([values]) for name, values in scores.items()}


def compare_folders(generated: str | Path, truth: str | Path) -> dict:
    """Compare the frames of two folders, videos or pictures.

    Frames of two folders are matched by their names without suffix, all others by their order. Generated frames of
    another size are resized to the true ones' (bilinear), as published.

    Returns frames (their number), the means of PIXEL_SCORES (see metrics for each), width and height of the first true
    frame, and resized, the number of frames that were. Raises InputError if frames are missing or cannot be read.
    """
    pairs = tqdm(frame_pairs(generated, truth), total=read_frames(truth).count, desc="comparing", unit="frame")
    scores = score_frames(pairs, published=True)
    means = mean_scores(scores)
    return {
        "frames": len(scores["psnr"]),
        **{name: means[name] for name in PIXEL_SCORES},
        "width": int(scores["width"][0]),
        "height": int(scores["height"][0]),
        "resized": int(scores["resized"].sum()),
    }


def describe_scores(means: dict[str, float], frames: int) -> str:
    """Return mean scores as a few lines of text."""
    lines = [f"{frames} frame{'s' if frames != 1 else ''}", f"PSNR {means['psnr']:.2f} dB", f"SSIM {means['ssim']:.4f}"]
    lines.append(f"L1 {means['l1']:.4f}")
    for name, where in (("flicker_still", "still pixels"), ("flicker_moving", "moving pixels")):
        if means[name] == means[name]:
            lines.append(f"flicker {means[name]:.4f} of {where}")
    return "\n".join(lines)
