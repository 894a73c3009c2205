"""Random numbers that are the same in every Python version and on every machine."""

import random

from ..errors import InputError

SPLITS = ("train", "test")


class RandomStream:
    """A named stream of random numbers. It uses only Random.random(), whose sequence Python guarantees.

    Raises InputError if split is not "train" or "test" or seed is not an integer.
    """

    def __init__(self, purpose: str, split: str, seed: int, *more: int):
        if split not in SPLITS:
            raise InputError(f"The split is {split!r}: give one of {', '.join(SPLITS)}.")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(f"The seed is {seed!r}: give an integer.")
        self._random = random.Random("/".join(map(str, ("magicdance", purpose, split, seed, *more)))).random

    def uniform(self, low: float, high: float) -> float:
        """Return a number between low and high."""
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self._random() < probability

    def choice(self, options):
        """Return one of the options, all equally likely."""
        return options[int(self._random() * len(options))]

    def weighted_choice(self, weights: dict):
        """Return a key of the dict with a probability proportional to its value."""
        left = self._random() * sum(weights.values())
        for option, weight in weights.items():
            left -= weight
            if left < 0:
                return option
        return next(reversed(weights))  # rounding error
