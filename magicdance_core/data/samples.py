"""Samples by number: their random numbers, and the batches of each process, step after step."""

import hashlib
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..errors import InputError

Batch = dict[str, Tensor]


def generator(seed: int, *key: str | int) -> torch.Generator:
    """A source of random numbers that depends on nothing but its arguments; on the CPU."""
    digest = hashlib.blake2b("/".join(map(str, (seed, *key))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(source: torch.Generator) -> float:
    """A number in [0, 1)."""
    return torch.rand((), generator=source, dtype=torch.float64).item()


def below(source: torch.Generator, end: int) -> int:
    """A whole number from 0 to end - 1."""
    return int(torch.randint(end, (), generator=source))


class Samples(Dataset):
    """A function from numbers to tensors, as torch's loader takes it; bad input comes out of its processes as it is."""

    def __init__(self, draw: Callable):
        self.draw = draw

    def __getitem__(self, index):
        try:
            return self.draw(index)
        except InputError as error:
            return error


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


def batches(draw: Callable[[int], Batch], shares: Shares, workers: int, pin: bool = False) -> Iterator[Batch]:
    """The batches of a process; drawn ahead in `workers` processes, in the same order and values for any number."""
    loader = DataLoader(
        Samples(draw),
        batch_sampler=shares,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
        collate_fn=_collate,
        pin_memory=pin,
    )
    return _raising(loader)


def ahead(draw: Callable, keys: list, workers: int) -> Iterator:
    """`draw` of each key, in order, drawn ahead in `workers` processes."""
    loader = DataLoader(
        Samples(draw),
        sampler=keys,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )
    return _raising(loader)


def _collate(samples: list) -> Batch | InputError:
    return next((sample for sample in samples if isinstance(sample, InputError)), None) or default_collate(samples)


def _raising(items: Iterable) -> Iterator:
    for item in items:
        if isinstance(item, InputError):
            raise item
        yield item


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
