"""Sampling and training on a CPU: the number of threads, and the dtype that it computes fast in."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

T = TypeVar("T")

SMALL = 2_000_000
"""Networks with fewer parameters gain nothing from a second thread, and lose much where cores are busy."""
SMALL_SAMPLING = 50_000_000
"""The same for sampling: its batches are smaller than a trainer's, and other work runs beside it."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
THREADS_AT_IMPORT = torch.get_num_threads()
FAST_INSTRUCTIONS = {torch.bfloat16: ("amx_bf16", "avx512_bf16"), torch.float16: ("amx_fp16",)}
"""Instructions without which a CPU takes several times as long in a dtype as in float32."""


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_configured() -> bool:
    """Return whether the user has set a number of threads: in the environment, or in torch since the import."""
    return any(map(os.environ.get, VARIABLES)) or torch.get_num_threads() != THREADS_AT_IMPORT


def threads_for(*networks: nn.Module | None, small: int = SMALL) -> int:
    """Return the number of threads for running networks together: the user's if configured; 1 for networks with fewer
    than `small` parameters; else torch's, but no more than there are cores."""
    if is_configured():
        return torch.get_num_threads()
    parameters = sum(p.numel() for network in networks if network is not None for p in network.parameters())
    return 1 if parameters < small else max(1, min(torch.get_num_threads(), available_cores()))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run a block with this number of torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def iterate_with_threads(number: int, items: Iterable[T]) -> Iterator[T]:
    """Yield the items, computing each with this number of torch threads; the consumer keeps its own number."""
    iterator, nothing = iter(items), object()
    while True:
        with threads(number):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield item  # type: ignore[misc]


def fast_dtype(requested: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype to compute in: the requested one, or float32 where a CPU has no instructions for it.

    Instructions that torch before 2.11 does not report count as missing.
    """
    if device.type != "cpu" or requested not in FAST_INSTRUCTIONS:
        return requested
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return requested if any(capabilities.get(name) for name in FAST_INSTRUCTIONS[requested]) else torch.float32
