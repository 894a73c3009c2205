"""What any method has to beat: the reference moved by the keypoints alone, without a network."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from ..pose.keypoints import SLICES, PoseFrame, person_to_points

# The warp is evaluated on a grid of this many nodes a side, and between them linearly: it is smooth.
GRID = 96
# Of hands and face a few points suffice; points that nearly coincide would tear the picture.
_PARTS = {"body": slice(0, 18, 1), "left_hand": slice(4, 21, 4), "right_hand": slice(4, 21, 4), "face": slice(0, 17, 4)}
# How far the spline may miss a keypoint: of points that meet in one picture and not in the other, neither can win.
SMOOTHING = 1e-3


def warp_to_pose(reference: Image.Image, source: PoseFrame, target: PoseFrame) -> Image.Image:
    """The reference picture moved so that its keypoints go where the target's are; RGB, in its own size.

    A thin-plate spline through the keypoints that both frames have, held fast around the picture's edge; what leaves
    the picture is lost and what enters repeats the edge. The reference itself where fewer than three points are shared.
    Source: Bookstein, "Principal warps: thin-plate splines and the decomposition of deformations" (1989). In the
    published table "TPS" is a learned motion model over such splines; this is the spline alone.
    """
    from scipy.interpolate import RBFInterpolator

    here, there = _shared_points(source, target)
    if len(here) < 3:
        return reference.copy()
    edge = np.array([(x, y) for x in (0, 0.25, 0.5, 0.75, 1) for y in (0, 0.25, 0.5, 0.75, 1) if {x, y} & {0, 1}])
    # The inverse map, as resampling needs it: for a place in the new picture, where it was in the old one.
    spline = RBFInterpolator(
        np.concatenate([there, edge]), np.concatenate([here, edge]), kernel="thin_plate_spline", smoothing=SMOOTHING
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
    """Points that both frames' first people have, float64 [n, 2] each, in [0, 1] of the picture's sides."""
    points = [person_to_points(frame.people[0] if frame.people else None) for frame in (source, target)]
    chosen = np.concatenate([np.arange(SLICES[part].start, SLICES[part].stop)[some] for part, some in _PARTS.items()])
    here, there = (p[chosen].astype(float) for p in points)
    both = (here[:, 2] > 0) & (there[:, 2] > 0)
    sizes = [(frame.width, frame.height) for frame in (source, target)]
    here, there = (p[both, :2] / size for p, size in zip((here, there), sizes))
    # Where two points meet in the target, the spline would have to be in two places at once.
    _, first = np.unique(there.round(3), axis=0, return_index=True)
    return here[np.sort(first)], there[np.sort(first)]
