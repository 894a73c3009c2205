"""Low-rank adaptation of attention weights (LoRA; Hu et al., arXiv 2106.09685), merged after training."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


class LowRank(nn.Module):
    """Parametrization of a weight `[out, in]` as weight + up @ down; up is 0 at first."""

    def __init__(self, weight: Tensor, rank: int, source: torch.Generator):
        super().__init__()
        down = torch.randn(rank, weight.shape[1], generator=source) / weight.shape[1] ** 0.5
        self.down = nn.Parameter(down.to(weight.device, torch.float32))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).to(weight.dtype)


def add_low_rank(network: nn.Module, rank: int, seed: int) -> None:
    """Add a trainable low-rank matrix to each attention projection; everything else in the network is frozen."""
    network.requires_grad_(False)
    source = torch.Generator().manual_seed(seed)
    for layer in projections(network):
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, source))


def merge_low_rank(network: nn.Module) -> None:
    """Merge the low-rank matrices into the weights, which get their former names back."""
    for layer in projections(network):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    network.requires_grad_(False)


def projections(network: nn.Module) -> list[nn.Module]:
    """Return the linear layers of attention."""
    return [m for name, m in network.named_modules() if name.endswith(LAYERS) and isinstance(m, nn.Linear)]
