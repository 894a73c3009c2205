"""Exponential moving average of weights; the averaged weights are the result of a stage."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor


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
