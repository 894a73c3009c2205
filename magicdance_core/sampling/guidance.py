"""Classifier-free guidance: which two predictions are contrasted, and their combination."""

from dataclasses import dataclass

from torch import Tensor

from ..models import Networks, ReferenceSource, predict, read_pose


@dataclass(frozen=True)
class GuidanceBranch:
    """What the networks hear and see in one of the two predictions that guidance contrasts, at one step.

    context: text `[1, n, C]`. source: the reference; None for no Appearance Control. pose_strength: of the residuals.
    motion_scale: of the motion module; 0 for frames on their own.
    """

    context: Tensor
    source: ReferenceSource | None = None
    pose_strength: float = 0.0
    motion_scale: float = 0.0

    def equals(self, other: "GuidanceBranch") -> bool:
        """Whether both must predict the same."""
        same_inputs = self.context is other.context and self.source is other.source
        return same_inputs and (self.pose_strength, self.motion_scale) == (other.pose_strength, other.motion_scale)


def predict_branch(
    networks: Networks, branch: GuidanceBranch, latents: Tensor, timestep: Tensor, hints: Tensor | None
) -> Tensor:
    """The prediction `[n, 4, h, w]`, float32, for noisy latents and hints of the same number of frames, one clip."""
    residuals = read_pose(networks, latents, timestep, branch.context, hints, branch.pose_strength)
    return predict(networks, latents, timestep, branch.context, branch.source, residuals, branch.motion_scale).float()


def guide(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Away from `uncond`, `scale` times as far as `cond` is (Ho and Salimans, arXiv 2207.12598)."""
    return uncond + scale * (cond - uncond)
