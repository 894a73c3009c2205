"""Classifier-free guidance: the two predictions that are contrasted, and their combination."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..models import Networks, PoseResiduals, ReferenceSource, predict


@dataclass(frozen=True)
class GuidanceBranch:
    """Conditions of one of the two predictions at a step.

    context: prompt `[1, n, C]`. source: the reference; None without Appearance Control. pose_strength: of the
    residuals. motion_scale: of the motion module; 0 for independent frames. people: the reference of each region, if
    people are predicted one by one at this step.
    """

    context: Tensor
    source: ReferenceSource | None = None
    pose_strength: float = 0.0
    motion_scale: float = 0.0
    people: tuple[ReferenceSource, ...] = ()

    def equals(self, other: "GuidanceBranch") -> bool:
        """Return whether both give the same prediction."""
        same_inputs = self.context is other.context and self.source is other.source
        return same_inputs and (self.pose_strength, self.motion_scale) == (other.pose_strength, other.motion_scale)


def predict_branch(
    networks: Networks, branch: GuidanceBranch, latents: Tensor, timestep: Tensor, residuals: PoseResiduals | None
) -> Tensor:
    """Return the prediction `[n, 4, h, w]`, float32, for noisy latents and residuals of one clip of n frames."""
    return predict(networks, latents, timestep, branch.context, branch.source, residuals, branch.motion_scale).float()


def predict_batched(
    networks: Networks,
    cond: GuidanceBranch,
    uncond: GuidanceBranch,
    latents: Tensor,
    timestep: Tensor,
    residuals: Sequence[PoseResiduals | None],
) -> tuple[Tensor, Tensor]:
    """Return the results of `predict_branch` for two branches with one `motion_scale`, from one batch of 2n rows."""
    count = len(latents)
    context, source = cond.context, cond.source
    if uncond.context is not context:
        context = torch.cat([context, uncond.context])
    if source is not None and uncond.source is None:
        source = replace(source, rows=count)
    elif source is not None and uncond.source is not None:
        keys, values = (
            {name: torch.cat([one[name], other[name]]) for name in one}
            for one, other in ((source.keys, uncond.source.keys), (source.values, uncond.source.values))
        )
        source = replace(source, keys=keys, values=values, weights=_twice(source.weights, count))
    batch = networks, latents.repeat(2, 1, 1, 1), timestep, context, source, _stack(*residuals)
    both = predict(*batch, cond.motion_scale, frames=count).float()
    return both[:count], both[count:]


def _twice(weights: dict[str, Tensor] | None, count: int) -> dict[str, Tensor] | None:
    if weights is None:
        return None
    return {name: part.repeat(2, 1, 1) if len(part) == count else part for name, part in weights.items()}


def _stack(cond: PoseResiduals | None, uncond: PoseResiduals | None) -> PoseResiduals | None:
    """Stack the residuals of both branches; zeros stand for missing ones."""
    if cond is None:
        return None
    other = uncond or PoseResiduals(tuple(map(torch.zeros_like, cond.down)), torch.zeros_like(cond.mid))
    return PoseResiduals(tuple(map(torch.cat, zip(cond.down, other.down))), torch.cat([cond.mid, other.mid]))


def guide(cond: Tensor, uncond: Tensor, scale: float) -> Tensor:
    """Extrapolate from the unconditional through the conditional prediction (Ho and Salimans, arXiv 2207.12598)."""
    return uncond + scale * (cond - uncond)
