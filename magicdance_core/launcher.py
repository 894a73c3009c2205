"""The processes that `accelerate launch` or `torchrun` started, as their environment says."""

import os

from .errors import InputError

MAX_PROCESSES = 100_000


def rank_and_size() -> tuple[int, int]:
    """Return the number of this process, from 0, and how many there are; 0 and 1 without a launcher.

    Raises InputError if the environment says something else than numbers that fit together.
    """
    rank, size = (_number(name, default) for name, default in (("RANK", 0), ("WORLD_SIZE", 1)))
    local = _number("LOCAL_RANK", 0)
    if not (rank < size and local < size):
        name, number = ("RANK", rank) if rank >= size else ("LOCAL_RANK", local)
        raise InputError(f"{name} is {number} and WORLD_SIZE {size}: unset both, or start with `accelerate launch`.")
    return rank, size


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    least = 1 if name == "WORLD_SIZE" else 0
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= MAX_PROCESSES):
        raise InputError(f"{name} is {text[:40]!r}: unset it, or give a whole number from {least} on.")
    return int(text)
