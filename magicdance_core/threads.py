"""How many threads a piece of work on the CPU deserves."""

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
"""The same of networks that sample: their batches are smaller than a trainer's, and other work runs beside them."""
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
AT_IMPORT = torch.get_num_threads()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_chosen() -> bool:
    """Whether somebody has said how many threads there are to be: in the environment, or to torch since the import."""
    return any(map(os.environ.get, VARIABLES)) or torch.get_num_threads() != AT_IMPORT


def threads_for(*networks: nn.Module | None, small: int = SMALL) -> int:
    """Threads for running these networks together: as many as somebody has chosen; else 1 for networks with less than
    `small` parameters, and for others as many as torch takes by itself, but no more than there are cores."""
    if is_chosen():
        return torch.get_num_threads()
    parameters = sum(p.numel() for network in networks if network is not None for p in network.parameters())
    return 1 if parameters < small else max(1, min(torch.get_num_threads(), cores()))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run the block with that number of torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def made_with(number: int, items: Iterable[T]) -> Iterator[T]:
    """The items, each made with that number of torch threads; whoever takes them has their own again."""
    iterator, nothing = iter(items), object()
    while True:
        with threads(number):
            item = next(iterator, nothing)
        if item is nothing:
            return
        yield item
