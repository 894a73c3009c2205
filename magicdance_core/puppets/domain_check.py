"""Check whether pictures and poses look like puppets, the only training data of the embedded model.

Two statistics, measured when the bounds below were set. Flat pixels in pictures: 80 puppets had at least 0.47, 88 % of
242 photographs and renderings less than 0.43. Height and lower end of the person in pose maps: 360 poses of puppets had
0.64 to 0.83 and 0.90 to 0.94.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 64  # pictures are compared at this size, at which photographs have texture at every pixel
MIN_FLAT = 0.42
HEIGHTS = (0.55, 0.92)
LOWEST = 0.97
MAX_INK = 0.15


def domain_warnings(reference: Tensor, poses: Tensor) -> list[str]:
    """Return a warning, with a remedy, for each input that is unlike the training data of the embedded model.

    reference: `[n, 3, H, W]`; poses: pose maps `[F, 3, H, W]`; both float in [0, 1].
    """
    warnings = []
    if max(flatness(picture) for picture in reference) < MIN_FLAT:
        warnings.append(
            "Photographs need the published weights (workflow 2) or your own checkpoint (4 and 5): the reference looks "
            "like one, and the embedded model was trained on drawn puppets only (see Draw Puppets)."
        )
    unusual = sum(not is_familiar_pose(pose) for pose in poses)
    if unusual > len(poses) / 2:
        warnings.append(
            "Fit the motion to the puppet with Retarget Pose, or use the published weights: "
            f"{unusual} of {len(poses)} pose maps do not show a single person from head to feet, as the training data "
            "of the embedded model does."
        )
    return warnings


def flatness(picture: Tensor) -> float:
    """Return the fraction of pixels of a picture `[3, H, W]` that hardly differ from those above and to the left."""
    import torch.nn.functional as F

    small = F.interpolate(picture[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    levels = (small * 255).round()
    down, right = levels.diff(dim=1)[:, :, 1:].abs(), levels.diff(dim=2)[:, 1:].abs()
    return (down.maximum(right).amax(0) <= 2).float().mean().item()


def is_familiar_pose(pose: Tensor) -> bool:
    """Return whether a pose map `[3, H, W]` has thin strokes, the height of a puppet, and feet inside the picture."""
    ink = pose.amax(0) > 1 / 8
    rows = ink.any(1).nonzero()
    if not len(rows) or ink.float().mean() > MAX_INK:
        return False
    top, bottom = rows[0].item() / pose.shape[1], (rows[-1].item() + 1) / pose.shape[1]
    return HEIGHTS[0] <= bottom - top <= HEIGHTS[1] and bottom <= LOWEST
