"""Averaged weights, which are what a stage results in."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor


class Average:
    """The exponential moving average of weights, on their device or on the CPU; a decay of 0 keeps none.

    parameters: name -> parameter, those that learn. The decay is (1 + n) / (10 + n) after n steps, at most `decay`
    (diffusers' EMAModel).
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float, on_cpu: bool):
        self.parameters, self.on_cpu = list(parameters.values()), on_cpu
        self._average = EMAModel(self.parameters, decay=decay, foreach=True) if decay else None
        if self._average and on_cpu:
            self._average.to("cpu")

    def step(self) -> None:
        """Take the weights in."""
        if self._average:
            beside = [p.detach().cpu().requires_grad_() for p in self.parameters] if self.on_cpu else self.parameters
            self._average.step(beside)

    def take(self) -> None:
        """Give the networks the averaged weights for good."""
        if self._average:
            self._average.copy_to(self.parameters)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """The networks have the averaged weights while the block runs."""
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
        """The averaged weights in the order of the parameters (none without a decay), and how often they were taken."""
        return (self._average.shadow_params, self._average.optimization_step) if self._average else ([], 0)

    @torch.no_grad()
    def load(self, weights: list[Tensor], steps: int) -> None:
        """Continue from a `state`."""
        if self._average:
            for mine, saved in zip(self._average.shadow_params, weights):
                mine.copy_(saved)
            self._average.optimization_step = steps
