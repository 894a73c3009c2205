"""Low-rank adaptation of attention weights (LoRA; Hu et al., arXiv 2106.09685), merged after training."""

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .config import StageConfig

NETWORKS = ("unet", "appearance")
"""Networks that can learn so; the layers of both have the UNet's names, which files of LoRAs use."""
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


def merge_low_rank(network: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Merge the low-rank matrices into the weights, which get their former names back.

    Returns what was added: name of a weight -> (up `[out, rank]`, down `[rank, in]`).
    """
    pairs = {}
    for name, layer in network.named_modules():
        if is_projection(name, layer) and parametrize.is_parametrized(layer, "weight"):
            added = layer.parametrizations["weight"][0]
            pairs[f"{name}.weight"] = added.up.detach().clone(), added.down.detach().clone()
    for name in pairs:
        layer = network.get_submodule(name.removesuffix(".weight"))
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    network.requires_grad_(False)
    return pairs


def low_rank_networks(stage: StageConfig) -> tuple[str, ...]:
    """Return the names of a stage's networks that learn low-rank matrices instead of their weights."""
    return tuple(name for name in NETWORKS if stage.rank and name in stage.train)


def projections(network: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of attention."""
    return [layer for name, layer in network.named_modules() if is_projection(name, layer)]


def is_projection(name: str, layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether a layer of this name is a linear layer of attention."""
    return name.endswith(LAYERS) and isinstance(layer, nn.Linear)
