"""Decode the boxes and keypoints of MediaPipe's detection networks.

Source: SSD (arXiv 1512.02325) with anchor points instead of boxes, and the weighted suppression of BlazeFace
(arXiv 1907.05047).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .regions import Region

MAX_OVERLAP = 0.3


@dataclass(frozen=True)
class Detection:
    """score: in [0, 1]. box: corners [2, 2], top left first. keypoints: [K, 2]."""

    score: float
    box: np.ndarray
    keypoints: np.ndarray

    @property
    def centre(self) -> np.ndarray:
        return self.box.mean(axis=0)

    @property
    def size(self) -> np.ndarray:
        """Width and height."""
        return self.box[1] - self.box[0]

    def in_picture(self, region: Region) -> Detection:
        """Return the detection of an upright region, in which coordinates are in [0, 1], in pixels of the picture."""
        return replace(self, box=region.to_picture(self.box), keypoints=region.to_picture(self.keypoints))


def anchors(grids: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return the anchor points [N, 2] of grids, in [0, 1]: row by row, each as often as its grid says.

    grids: cells a side, anchors a cell.
    """
    rows = []
    for cells, repeats in grids:
        y, x = (np.mgrid[:cells, :cells] + 0.5) / cells
        rows.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(rows)


def decode(boxes: np.ndarray, logits: np.ndarray, anchors: np.ndarray, size: int, threshold: float) -> list[Detection]:
    """Return the detections of a network with an input of size x size pixels, best first, without overlapping ones.

    boxes: [1, N, 4 + 2 K], centre, width and height, keypoints, in pixels; centre and keypoints relative to the anchor.
    logits: [1, N, 1]. threshold: of the score.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1).astype(np.float64), -80, 80)))
    likely = np.flatnonzero(scores > threshold)
    raw = boxes[0, likely].astype(np.float64).reshape(len(likely), boxes.shape[2] // 2, 2) / size
    at = anchors[likely, None]
    centres, halves = raw[:, :1] + at, raw[:, 1:2] / 2
    corners = np.concatenate([centres - halves, centres + halves], axis=1)
    return suppress(scores[likely], corners, raw[:, 2:] + at)


def suppress(scores: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray) -> list[Detection]:
    """Return one detection for each group of overlapping ones: their mean weighted by score, with the best's score.

    scores: [N]. boxes: [N, 2, 2], corners. keypoints: [N, K, 2].
    """
    remaining, found = np.argsort(-scores, kind="stable"), []
    while len(remaining):
        best = remaining[0]
        same = overlaps(boxes[best], boxes[remaining]) > MAX_OVERLAP
        same[0] = True
        group, remaining = remaining[same], remaining[~same]
        weights = scores[group] / scores[group].sum()
        mean_box, mean_points = (np.tensordot(weights, values[group], 1) for values in (boxes, keypoints))
        found.append(Detection(float(scores[best]), mean_box, mean_points))
    return found


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a box [2, 2] with each of [N, 2, 2]."""
    sides = np.maximum(np.minimum(box[1], boxes[:, 1]) - np.maximum(box[0], boxes[:, 0]), 0)
    intersection = sides.prod(axis=1)
    union = np.prod(box[1] - box[0]) + np.prod(boxes[:, 1] - boxes[:, 0], axis=1) - intersection
    return np.where(union > 0, intersection / np.where(union > 0, union, 1), 0)
