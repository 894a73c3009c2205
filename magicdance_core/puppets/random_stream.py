"""Random numbers that are the same in every Python version and on every machine."""

import random

from ..errors import InputError

SPLITS = ("train", "test")


class RandomStream:
    """A named stream of random numbers; only Random.random() is used, whose stream Python guarantees.

    Raises InputError where split is not "train" or "test" or seed is not an integer.
    """

    def __init__(self, purpose: str, split: str, seed: int, *more: int):
        if split not in SPLITS:
            raise InputError(f"The split is {split!r}; it has to be one of {', '.join(SPLITS)}.")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise InputError(f"The seed is {seed!r}; it has to be an integer.")
        self._random = random.Random("/".join(map(str, ("magicdance", purpose, split, seed, *more)))).random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * self._random()

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def choice(self, options):
        return options[int(self._random() * len(options))]

    def weighted_choice(self, weights: dict):
        """A key of the dict, with a probability proportional to its value."""
        left = self._random() * sum(weights.values())
        for option, weight in weights.items():
            left -= weight
            if left < 0:
                return option
        return next(reversed(weights))  # rounding left a crumb
