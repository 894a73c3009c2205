"""Checks of single arguments, in messages that name the argument, its value and what to give instead."""

import math
from collections.abc import Callable
from types import UnionType
from typing import Any, TypeVar

from .errors import InputError

N = TypeVar("N", int, float)
FORMULA = ("=", "+", "-", "@")  # beginnings of cells that a spreadsheet computes
WORDS = {int: "a whole number", float: "a finite number"}


def number(kind: type[N], value: object, what: str, low: float | None = None, high: float | None = None) -> N:
    """Return an argument as `kind` (int or float); single numbers of NumPy and torch will do.

    what: the argument's name in messages. low, high: inclusive limits.
    Raises InputError for anything else, numbers that are not finite included.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 1e300 else math.inf
    if isinstance(value, bool) or not isinstance(value, kind) or (kind is float and not math.isfinite(value)):
        raise InputError(f"{what} is {quoted(value)}: give {WORDS[kind]}.")
    if not ((low is None or value >= low) and (high is None or value <= high)):
        raise InputError(f"{what} is {shown(value)}: give {limits(low, high)}.")
    return value


def check_type(value: object, what: str, kind: type | UnionType | Any) -> None:
    """Raise InputError unless the argument `what` is of this class or union of classes."""
    if not isinstance(value, kind):
        raise InputError(f"{what} is a {type(value).__name__}: give {getattr(kind, '__name__', str(kind))}.")


def limits(low: float | None, high: float | None) -> str:
    """Return inclusive limits in words, such as "1 to 8" or "at least 1"."""
    low, high = (int(end) if isinstance(end, float) and end.is_integer() else end for end in (low, high))
    if low == high:
        return str(low)
    return f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"


def shown(value: object) -> str:
    """Return a value as messages show it, in 60 characters at most."""
    return _short(value, str)


def quoted(value: object) -> str:
    """Return the representation of a value, texts in quotes, as messages show it; see `shown`."""
    return _short(value, repr)


def _short(value: object, write: Callable[[object], str]) -> str:
    try:
        text = printable(write(value))
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."


def printable(text: str, keep: str = "") -> str:
    r"""Return a text in which control, format and undecodable characters are escape sequences, such as \x1b and \udcff.

    For names and texts from files, which could otherwise command a terminal, break a line or reverse its direction.
    keep: characters that stay, such as line ends.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else sign.encode("unicode_escape").decode() for sign in text
    )


def csv_text(text: str) -> str:
    """Return a name as the text of a cell of CSV, never a formula."""
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
