"""Classifier-free guidance: which two predictions are contrasted, and their combination."""

from dataclasses import dataclass

from torch import Tensor

from ..models import Networks, ReferenceSource, predict, read_pose

CONTROL_MODES = ("controlnet_important", "balance")


@dataclass(frozen=True)
class Half:
    """What the networks hear and see in one half of guidance, at one step.

    context: text `[1, n, C]`. source: the reference; None for no Appearance Control. pose: the pose's strength.
    """

    context: Tensor
    source: ReferenceSource | None = None
    pose: float = 0.0

    def equals(self, other: "Half") -> bool:
        """Whether both halves must predict the same."""
        return self.context is other.context and self.source is other.source and self.pose == other.pose


def predict_half(networks: Networks, half: Half, latents: Tensor, timestep: Tensor, hints: Tensor | None) -> Tensor:
    """The prediction `[n, 4, h, w]`, float32, for noisy latents and hints of the same number of frames."""
    residuals = read_pose(networks, latents, timestep, half.context, hints, half.pose)
    return predict(networks, latents, timestep, half.context, half.source, residuals).float()


def guide(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Away from `uncond`, `scale` times as far as `cond` is (Ho and Salimans, arXiv 2207.12598)."""
    return uncond + scale * (cond - uncond)
