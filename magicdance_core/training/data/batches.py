"""Samples by number, in the share of each process, step after step."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Batch = dict[str, Tensor]


class Samples(Dataset):
    """A function from a sample's number to its tensors, as torch's loader takes it."""

    def __init__(self, draw: Callable[[int], Batch]):
        self.draw = draw

    def __getitem__(self, index: int) -> Batch:
        return self.draw(index)


class Shares(Sampler):
    """The numbers that one of several processes takes through the networks, a pass at a time.

    Step s is made of the numbers s * batch to (s + 1) * batch - 1 whatever the number of processes and passes.
    batch: samples a step, of all processes. per_pass: of a process at once.
    """

    def __init__(self, first: int, steps: int, batch: int, per_pass: int, process: int = 0, processes: int = 1):
        self.range, self.batch, self.per_pass = range(first, steps), batch, per_pass
        self.process, self.processes = process, processes

    @property
    def passes(self) -> int:
        """Passes of a process in each step."""
        return self.batch // (self.per_pass * self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.range:
            for number in range(self.passes):
                first = step * self.batch + (number * self.processes + self.process) * self.per_pass
                yield list(range(first, first + self.per_pass))

    def __len__(self) -> int:
        return len(self.range) * self.passes


def batches(draw: Callable[[int], Batch], shares: Shares, workers: int, pin: bool = False) -> DataLoader:
    """The batches of a process; drawn ahead in `workers` processes, in the same order and values for any number."""
    return DataLoader(
        Samples(draw),
        batch_sampler=shares,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        persistent_workers=bool(workers),
        worker_init_fn=_one_thread,
        pin_memory=pin,
    )


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
