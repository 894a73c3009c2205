"""How many threads a piece of work on the CPU deserves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

SMALL = 2_000_000
"""Networks with fewer parameters gain nothing from a second thread, and lose much where cores are busy."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(*networks: nn.Module | None) -> int:
    """Threads for running these networks together: 1 for small ones, else what torch has been told (OMP_NUM_THREADS)
    or would take by itself, but no more than there are cores."""
    parameters = sum(p.numel() for network in networks if network is not None for p in network.parameters())
    return 1 if parameters < SMALL else max(1, min(torch.get_num_threads(), cores()))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Run the block with that number of torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
