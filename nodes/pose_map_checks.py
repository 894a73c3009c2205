"""Checks of pose maps before sampling: a photograph or video in their place, or a size that the model does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CHECKED = 8  # pose maps, spread over the video; maps without a person are black and say nothing
FAR = 3  # times as many, or as few, pixels as in the training data


def check_pose_maps(poses: Tensor, name: str) -> None:
    """Raise InputError if pictures `[F, 3, H, W]` in [0, 1] are not pose maps. name: of the input, for messages."""
    from ..magicdance_core.errors import InputError
    from ..magicdance_core.pose.map_check import BLACK, looks_like_pose_map

    drawn = (poses.amax((1, 2, 3)) * 255 > BLACK).nonzero().flatten().tolist()
    if not drawn:
        raise InputError(f"`{name}` shows nobody: all {len(poses)} pose maps are black. Check the keypoints.")
    chosen = drawn[:: -(-len(drawn) // CHECKED)]
    pictures = [(poses[index] * 255).round().byte().movedim(0, -1).numpy() for index in chosen]
    if 2 * sum(map(looks_like_pose_map, pictures)) > len(chosen):
        return
    if 2 * sum(looks_like_pose_map(255 - picture) for picture in pictures) > len(chosen):
        raise InputError(
            f"Put Invert Image before `{name}`: these pose maps have a light ground, and need a black one."
        )
    raise InputError(
        f"Put Extract Pose and Draw Poses before `{name}`: they are no pose maps, coloured skeletons on black."
    )


def size_remarks(poses: Tensor, side: int) -> list[str]:
    """Return a sentence if pose maps `[F, 3, H, W]` have far more or fewer pixels than a model's `side` x `side`."""
    height, width = poses.shape[2:]
    if side**2 / FAR <= width * height <= side**2 * FAR:
        return []
    return [
        f"Draw the poses with about {side} x {side} pixels: they have {width} x {height}, and the model was trained on "
        f"{side} x {side}, so frames will be distorted{' and slow' if width * height > side**2 else ''}."
    ]
