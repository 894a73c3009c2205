"""Low-rank adaptation of weights (LoRA; Hu et al., arXiv 2106.09685), merged after training."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .config import LORA_NETWORKS, StageConfig

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


class LowRank(nn.Module):
    """Parametrization of a weight `[out, in, ...]` as weight + up @ down; up is 0 at first."""

    def __init__(self, weight: Tensor, rank: int, source: torch.Generator):
        super().__init__()
        columns = weight[0].numel()
        down = torch.randn(rank, columns, generator=source) / columns**0.5
        self.down = nn.Parameter(down.to(weight.device, torch.float32))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.up @ self.down).reshape(weight.shape).to(weight.dtype)


def add_low_rank(network: nn.Module, stage: StageConfig, seed: int) -> None:
    """Add a trainable low-rank matrix to each layer that a stage adapts; everything else in the network is frozen."""
    network.requires_grad_(False)
    source = torch.Generator().manual_seed(seed)
    for layer in adapted_layers(network, stage).values():
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, stage.rank, source))


def merge_low_rank(network: nn.Module, stage: StageConfig) -> dict[str, tuple[Tensor, Tensor]]:
    """Merge the low-rank matrices into the weights, which get their former names back.

    Returns what was added: name of a weight -> (up `[out, rank]`, down `[rank, in]`), of convolutions
    `[out, rank, 1, 1]` and `[rank, in, h, w]`.
    """
    pairs = {}
    for name, layer in adapted_layers(network, stage).items():
        parametrized: Any = layer.parametrizations
        added, kernel = parametrized["weight"][0], layer.weight.shape[2:]
        up, down = added.up.detach().clone(), added.down.detach().clone()
        pairs[f"{name}.weight"] = up[(...,) + (None,) * len(kernel)], down.reshape(len(down), -1, *kernel)
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    network.requires_grad_(False)
    return pairs


def low_rank_networks(stage: StageConfig) -> tuple[str, ...]:
    """Return the names of a stage's networks that learn low-rank matrices instead of their weights."""
    return tuple(name for name in LORA_NETWORKS[stage.lora_layers] if stage.rank and name in stage.train)


def adapted_layers(network: nn.Module, stage: StageConfig) -> dict[str, nn.Linear | nn.Conv2d]:
    """Return the layers of a network that a stage adapts, by name."""
    layers = {n: layer for n, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    if stage.lora_layers == "attention":
        return {n: layer for n, layer in layers.items() if n.endswith(ATTENTION) and isinstance(layer, nn.Linear)}
    return layers
