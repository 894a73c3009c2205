"""A baseline without a network: the reference warped by its keypoints."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ..pose.keypoints import SLICES, PoseFrame, person_to_points

# Nodes a side of the grid on which the warp is evaluated; it is smooth, so linear between them.
GRID = 96
# A few points of hands and face: points that nearly coincide would tear the picture.
_PARTS = {"body": slice(0, 18, 1), "left_hand": slice(4, 21, 4), "right_hand": slice(4, 21, 4), "face": slice(0, 17, 4)}
# Smoothing of the spline, for points that meet in one picture and not in the other.
SMOOTHING = 1e-3


def warp_to_pose(reference: Image.Image, source: PoseFrame, target: PoseFrame) -> Image.Image:
    """Warp an RGB picture so that its keypoints go to those of the target; the size stays.

    A thin-plate spline through the keypoints that both frames have, fixed at the picture's edge; what enters the
    picture repeats its edge. Returns a copy of the reference if fewer than three points are shared.
    Source: Bookstein, "Principal warps: thin-plate splines and the decomposition of deformations" (1989). In the
    published table "TPS" is a learned motion model over such splines; this is the spline alone.
    """
    from scipy.interpolate import RBFInterpolator

    old, new = _shared_points(source, target)
    if len(old) < 3:
        return reference.copy()
    edge = np.array([(x, y) for x in (0, 0.25, 0.5, 0.75, 1) for y in (0, 0.25, 0.5, 0.75, 1) if {x, y} & {0, 1}])
    # Resampling needs the inverse map, from the new picture to the old one.
    spline = RBFInterpolator(
        np.concatenate([new, edge]), np.concatenate([old, edge]), kernel="thin_plate_spline", smoothing=SMOOTHING
    )
    width, height = reference.size
    columns, rows = min(GRID, width), min(GRID, height)
    nodes = np.stack(np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows), axis=-1)
    moved = spline(nodes.reshape(-1, 2)).reshape(rows, columns, 2).astype(np.float32)
    moved = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = moved[..., 0] * width - 0.5, moved[..., 1] * height - 0.5
    warped = cv2.remap(np.asarray(reference), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Image.fromarray(warped)


def _shared_points(source: PoseFrame, target: PoseFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that both frames' first people have: float64 [n, 2] each, in [0, 1] of the picture's sides."""
    points = [person_to_points(frame.people[0] if frame.people else None) for frame in (source, target)]
    chosen = np.concatenate([np.arange(SLICES[part].start, SLICES[part].stop)[some] for part, some in _PARTS.items()])
    old, new = (p[chosen].astype(float) for p in points)
    shared = (old[:, 2] > 0) & (new[:, 2] > 0)
    sizes = [(frame.width, frame.height) for frame in (source, target)]
    old, new = (p[shared, :2] / size for p, size in zip((old, new), sizes))
    # Of points that coincide in the target only one can be met.
    _, first = np.unique(new.round(3), axis=0, return_index=True)
    return old[np.sort(first)], new[np.sort(first)]
