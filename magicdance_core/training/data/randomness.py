"""Random numbers of a sample: drawn from (seed, what for, number), so that they are the same wherever it is drawn."""

import hashlib

import torch


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
