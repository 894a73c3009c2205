"""What the Pose ControlNet says of the frames under way."""

import torch
from torch import Tensor

from ..models import Networks, PoseResiduals, read_pose
from .guidance import GuidanceBranch
from .hints import Hints


class Residuals:
    """Residuals of frames by number, of one step after the other; between the steps at which the ControlNet runs,
    `every` steps apart, what it said of a frame last."""

    def __init__(self, networks: Networks, hints: Hints | None, every: int = 1):
        self._networks, self._hints, self._every = networks, hints, every
        self._kept: dict[tuple[int, int], tuple[int, PoseResiduals]] = {}

    def read(
        self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], latents: Tensor, timestep: Tensor
    ) -> PoseResiduals | None:
        """Residuals of n frames with noisy latents `[n, 4, h, w]`; None where the ControlNet has no say."""
        if not branch.pose_strength or self._hints is None:
            return None
        if self._every == 1:
            return self._run(branch, frames, latents, timestep)
        turn = step // self._every
        rows = [row for row, frame in enumerate(frames) if self._turn(frame, branch) != turn]
        if rows:
            late = tuple(frames[row] for row in rows)
            said = self._run(branch, late, latents if len(late) == len(frames) else latents[rows], timestep)
            for frame, part in zip(late, _rows(said)):
                self._kept[frame, id(branch.context)] = turn, part
        parts = [self._kept[frame, id(branch.context)][1] for frame in frames]
        return PoseResiduals(tuple(map(torch.cat, zip(*(p.down for p in parts)))), torch.cat([p.mid for p in parts]))

    def drop(self, frames: list[int]) -> None:
        """Forget what was said of frames that are done."""
        self._kept = {key: kept for key, kept in self._kept.items() if key[0] not in frames}

    def _turn(self, frame: int, branch: GuidanceBranch) -> int | None:
        kept = self._kept.get((frame, id(branch.context)))
        return None if kept is None else kept[0]

    def _run(
        self, branch: GuidanceBranch, frames: tuple[int, ...], latents: Tensor, timestep: Tensor
    ) -> PoseResiduals | None:
        hints = self._hints.take(frames)
        return read_pose(self._networks, latents, timestep, branch.context, hints, branch.pose_strength)


def _rows(residuals: PoseResiduals) -> list[PoseResiduals]:
    """One for each frame."""
    down = zip(*(part.split(1) for part in residuals.down))
    return [PoseResiduals(parts, mid) for parts, mid in zip(down, residuals.mid.split(1))]
