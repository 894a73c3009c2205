"""Samples by number: their random numbers, and the batches of each process, step after step."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from ..errors import InputError

Batch = dict[str, Tensor]
K = TypeVar("K")
V = TypeVar("V")


def generator(seed: int, *key: str | int) -> torch.Generator:
    """Return a source of random numbers on the CPU that depends on nothing but the arguments.

    Samples are drawn from (seed, purpose, number), so that they are the same in whichever process they are drawn.
    """
    digest = hashlib.blake2b("/".join(map(str, (seed, *key))).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def uniform(source: torch.Generator) -> float:
    """Draw a number in [0, 1)."""
    return torch.rand((), generator=source, dtype=torch.float64).item()


def below(source: torch.Generator, end: int) -> int:
    """Draw a whole number from 0 to end - 1."""
    return int(torch.randint(end, (), generator=source))


class Samples(Dataset):
    """A function of keys as a torch data set; an InputError is returned, for loaders would turn it into another."""

    def __init__(self, draw: Callable[[Any], Any]):
        self.draw = draw

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.draw(key)
        except InputError as error:
            return error


class ProcessBatches(Sampler):
    """The sample numbers of one of several processes, one list for each forward pass.

    Step s consists of the samples s * batch to (s + 1) * batch - 1, whatever the number of processes and passes.
    first: first step. steps: step to stop before. batch: samples of a step, in all processes. per_pass: samples of a
    process in a forward pass.
    """

    def __init__(self, first: int, steps: int, batch: int, per_pass: int, process: int = 0, processes: int = 1):
        self.range, self.batch, self.per_pass = range(first, steps), batch, per_pass
        self.process, self.processes = process, processes

    @property
    def passes(self) -> int:
        """Number of forward passes of a process in each step."""
        return self.batch // (self.per_pass * self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.range:
            for number in range(self.passes):
                first = step * self.batch + (number * self.processes + self.process) * self.per_pass
                yield list(range(first, first + self.per_pass))

    def __len__(self) -> int:
        return len(self.range) * self.passes


def load_batches(
    draw: Callable[[int], Batch], numbers: ProcessBatches, workers: int, pin: bool = False
) -> Iterator[Batch]:
    """Yield the batches of a process, drawn ahead by `workers` processes; any number of them gives equal batches."""
    return _load(draw, workers, batch_sampler=numbers, collate_fn=_collate, pin_memory=pin)


def load_ahead(draw: Callable[[K], V], keys: Sequence[K], workers: int) -> Iterator[V]:
    """Yield `draw` of each key, in order, drawn ahead by `workers` processes."""
    return _load(draw, workers, sampler=keys, batch_size=None)


def _load(draw: Callable, workers: int, **options: Any) -> Iterator[Any]:
    if workers:
        options |= {"prefetch_factor": 4, "multiprocessing_context": _context(), "worker_init_fn": _one_thread}
    loader: Iterable[Any] = DataLoader(Samples(draw), num_workers=workers, **options)
    for loaded in loader:
        if isinstance(loaded, InputError):
            raise loaded
        yield loaded


def _context() -> BaseContext:
    """Return how workers start: never forked from this process, where FFmpeg's scaler may hang on locks of its threads.

    Where there is a fork server, it imports the libraries once, and workers are forked from it.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.latent_cache", f"{__package__}.streaming"])
    return context


def _collate(samples: list) -> Batch | InputError:
    return next((sample for sample in samples if isinstance(sample, InputError)), None) or default_collate(samples)


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)
