"""Muon for weight matrices, AdamW for the rest."""

import torch
from torch import Tensor, nn


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrix to each matrix of `[..., rows, columns]`, by Newton-Schulz iteration.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), quintic coefficients.
    The iteration runs on the small Gram matrix alone: all its factors are polynomials of it and commute.
    float32: in bfloat16 the Gram matrix loses enough digits to end in NaN on a CPU.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.float()
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = x @ x.mT
    identity = torch.eye(gram.shape[-1], device=x.device)
    product = identity
    for _ in range(steps):
        factor = a * identity + b * gram + c * gram @ gram
        product = factor @ product
        gram = gram @ factor @ factor
    x = product @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. Convolution kernels are flattened to `[out, in * h * w]`.

    Updates have the root mean square of AdamW's (0.2), so one learning rate serves both
    (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982).
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for shape, params in by_shape.items():
                self._update(group, shape, params)

    def _update(self, group: dict, shape: tuple[int, int], params: list[nn.Parameter]) -> None:
        """Weights of one shape go through the iteration together: small products would waste the cores."""
        directions = []
        for p in params:
            buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
            buffer.lerp_(p.grad, 1 - group["momentum"])
            directions.append(p.grad.lerp(buffer, group["momentum"]).reshape(shape))
        updates = orthogonalize(torch.stack(directions)) * (0.2 * max(shape) ** 0.5)
        for p, update in zip(params, updates):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(update.reshape(p.shape), alpha=-group["lr"])


def make_optimizers(networks: dict[str, nn.Module], lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices and kernels; AdamW for vectors and for first and last layers."""
    hidden, rest = [], []
    for network in networks.values():
        for name, p in network.named_parameters():
            outer = name.split(".")[0] in ("conv_in", "conv_out") or "coder.conv_" in name
            (hidden if p.ndim >= 2 and not outer else rest).append(p)
    return [
        Muon(hidden, lr=lr, weight_decay=weight_decay),
        torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.0),
    ]
