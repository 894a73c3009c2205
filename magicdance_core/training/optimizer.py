"""Optimizers (Muon for weight matrices, AdamW for the rest), learning rate schedule and averaged weights."""

import contextlib
import math
from collections.abc import Iterator, Mapping

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from ..errors import InputError
from .config import StageConfig


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return the nearest semi-orthogonal matrix to each matrix of `[n, rows, columns]`, by Newton-Schulz iteration.

    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024), quintic coefficients.
    The iteration runs on the small Gram matrix alone: all its factors are polynomials of it and commute.
    It runs in float32: in bfloat16 the Gram matrix loses so many digits that the result is NaN on a CPU.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix.float() if wide else matrix.float().mT
    scale = 1 / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = (x @ x.mT).mul_(scale.square())
    product = gram
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor @ product if step else factor
        if step < steps - 1:
            gram = gram @ factor @ factor
    x = product.mul_(scale) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum. Convolution kernels are flattened to `[out, in * h * w]`.

    Updates are scaled to the root mean square of AdamW's (0.2), so that both take the same learning rate
    (Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982).
    """

    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # like many, without a closure
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    by_shape.setdefault((p.shape[0], p[0].numel()), []).append(p)
            for shape, params in by_shape.items():
                self._update(group, shape, params)

    def _update(self, group: dict, shape: tuple[int, int], params: list[nn.Parameter]) -> None:
        """Update all weights of one shape together: many small matrix products would be slow."""
        directions = []
        for p in params:
            assert (grad := p.grad) is not None
            buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
            buffer.lerp_(grad, 1 - group["momentum"])
            directions.append(grad.lerp(buffer, group["momentum"]).reshape(shape))
        updates = orthogonalize(torch.stack(directions)) * (0.2 * max(shape) ** 0.5)
        for p, update in zip(params, updates):
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(update.reshape(p.shape), alpha=-group["lr"])


def make_optimizers(
    kind: str, networks: Mapping[str, nn.Module], lr: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Return optimizers of all parameters that require a gradient.

    kind: "muon": Muon for hidden matrices and kernels, AdamW for vectors and for first and last layers. "adamw": AdamW
    for all, with the published betas. "adamw8bit": AdamW of bitsandbytes with 8-bit moments.
    Raises InputError if bitsandbytes is needed and missing.
    """
    learning = [(n, p) for network in networks.values() for n, p in network.named_parameters() if p.requires_grad]
    if kind == "muon":
        hidden, rest = [], []
        for name, p in learning:
            outer = name.split(".")[0] in ("conv_in", "conv_out") or "coder.conv_" in name
            (hidden if p.ndim >= 2 and not outer else rest).append(p)
        optimizers: list[torch.optim.Optimizer] = []
        if hidden:
            optimizers.append(Muon(hidden, lr=lr, weight_decay=weight_decay))
        if rest:
            optimizers.append(torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.99), weight_decay=0.0))
        return optimizers
    parameters = [p for _, p in learning]
    if kind == "adamw":
        return [torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)]
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError as error:
        raise InputError("optimizer is adamw8bit, and bitsandbytes is missing: install it, or choose adamw.") from error
    return [AdamW8bit(parameters, lr=lr, weight_decay=weight_decay)]


def load_optimizer(optimizer: torch.optim.Optimizer, saved: dict) -> None:
    """Load the states of a state dict; the settings, such as betas, stay those of the configuration."""
    settings = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    optimizer.load_state_dict(saved)
    for group, kept in zip(optimizer.param_groups, settings):
        group.update(kept)


def learning_rate_factor(step: int, stage: StageConfig) -> float:
    """Return the factor of the learning rate, which rises for `warmup` steps and falls to 0 in the last `decay`."""
    rising = (step + 1) / stage.warmup if stage.warmup else 1.0
    left = (1 - step / stage.steps) / max(stage.decay, 1e-9)
    if stage.schedule == "cosine":
        left = 0.5 - 0.5 * math.cos(math.pi * min(left, 1.0))
    return min(1.0, rising, left)


class Average:
    """The exponential moving average of parameters, on their device or on the CPU.

    The decay is (1 + n) / (10 + n) after n steps, at most `decay` (diffusers' EMAModel). With a decay of 0 nothing is
    averaged, and all methods do nothing.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float, on_cpu: bool):
        self.parameters, self.on_cpu = list(parameters.values()), on_cpu
        self._average = EMAModel(self.parameters, decay=decay, foreach=True) if decay else None
        if self._average and on_cpu:
            self._average.to("cpu")

    def step(self) -> None:
        """Update the average with the current weights."""
        if self._average:
            on_cpu = [p.detach().cpu().requires_grad_() for p in self.parameters] if self.on_cpu else self.parameters
            self._average.step(on_cpu)

    def apply(self) -> None:
        """Copy the averaged weights to the parameters."""
        if self._average:
            self._average.copy_to(self.parameters)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Give the parameters the averaged weights while the block runs."""
        if not self._average:
            yield
            return
        self._average.store(self.parameters)
        self._average.copy_to(self.parameters)
        try:
            yield
        finally:
            self._average.restore(self.parameters)

    def state(self) -> tuple[list[Tensor], int]:
        """Return the averaged weights in the order of the parameters (none without a decay), and how many updates."""
        return (self._average.shadow_params, self._average.optimization_step) if self._average else ([], 0)

    @torch.no_grad()
    def load(self, weights: list[Tensor], steps: int) -> None:
        """Load a `state`."""
        if self._average:
            for current, saved in zip(self._average.shadow_params, weights):
                current.copy_(saved)
            self._average.optimization_step = steps
