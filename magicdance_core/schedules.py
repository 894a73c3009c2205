"""Numbers that change over the frames of a video: a constant, a list, or a text such as "0: 0, 12: 1"."""

import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from .checks import limits, number, quoted
from .errors import InputError

Schedule: TypeAlias = float | str | Sequence[float] | np.ndarray
KEY = re.compile(r"\s*(\d{1,9})\s*:\s*\(?\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*\)?\s*")


def curve(schedule: Schedule, frames: int, what: str, low: float, high: float) -> np.ndarray:
    """Return the value of each frame, float64 [frames].

    schedule: a number for all frames; one for each, the last of which is repeated; or a text of either ("0, 0.5, 1"),
    or of frames and values as AnimateDiff's prompt schedules write them, linear in between ("0: 0, 12: (1.0)"). what:
    its name in messages. low, high: limits of the values.
    Raises InputError for anything else.
    """
    if isinstance(schedule, str):
        schedule = _parsed(schedule, what)
    if isinstance(schedule, dict):
        values = [number(float, value, f"{what} at frame {key}", low, high) for key, value in schedule.items()]
        return np.interp(np.arange(frames), list(schedule), values)
    if np.ndim(schedule) == 0:
        return np.full(frames, number(float, schedule, what, low, high))
    values = np.asarray(schedule, np.float64).ravel()
    if not len(values):
        raise InputError(f"{what} is empty: give a number, or one for each frame.")
    wrong = ~((values >= low) & (values <= high))  # NaN included
    if wrong.any():
        frame = int(wrong.argmax())
        raise InputError(f"{what} is {values[frame]:g} at frame {frame}: give {limits(low, high)}.")
    return np.pad(values[:frames], (0, max(0, frames - len(values))), mode="edge")


def _parsed(text: str, what: str) -> float | list[float] | dict[int, float]:
    refused = f"{what} is {quoted(text)}: give a number, or frames and values such as 0: 0, 12: 1."
    parts = text.rstrip(", \n").split(",")
    try:
        if ":" not in text:
            return float(text) if len(parts) == 1 else [float(part) for part in parts]
        matches = [KEY.fullmatch(part) for part in parts]
        keys = [(int(match[1]), float(match[2])) for match in matches if match]
    except ValueError:
        raise InputError(refused) from None
    if not all(matches):
        raise InputError(refused)
    if any(later <= earlier for (earlier, _), (later, _) in zip(keys, keys[1:])):
        raise InputError(f"{what} is {quoted(text)}, whose frames do not increase: order them.")
    return dict(keys)
