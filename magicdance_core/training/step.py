"""One training step as one module, so that whatever wraps modules wraps all networks at once."""

from torch import Tensor, nn

from ..data.samples import Batch
from .objectives import Objective


class TrainingStep(nn.Module):
    """The networks of a stage, and what is minimised: a batch in, the loss of each of its samples out."""

    def __init__(self, networks: dict[str, nn.Module], objective: Objective):
        super().__init__()
        self.networks = nn.ModuleDict({name: networks[name] for name in objective.networks})
        self.objective = objective

    def forward(self, batch: Batch) -> Tensor:
        """`[n]` float32, n samples."""
        return self.objective.loss(self.networks, batch)
