"""Checked configurations: dataclasses whose fields say what they take, filled from plain data (YAML, JSON)."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

from .errors import InputError

T = TypeVar("T")
LIMITS = "limits"
FREE = "free"


def setting(default: Any = dataclasses.MISSING, *, low=None, high=None, free: bool = False) -> Any:
    """A dataclass field with limits.

    default: a list or dict is copied for each instance; left out, the key is required. low, high: inclusive limits of
    a number; of a list or a text, of its length; of the items where those are numbers. free: the key says how a thing
    is done and not what comes out, so `differences` passes over it.
    """
    metadata = {LIMITS: (low, high), FREE: free}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def build(kind: type[T], values: object, where: str) -> T:
    """An instance of the dataclass `kind` from a dict of plain values.

    Types are those of the annotations: bool, int, float (finite; whole numbers and texts such as "1e-3", which YAML
    takes for a text, will do), str, Literal, a dataclass, dict, and lists, tuples, dicts and options (`X | None`) of
    these. What `__post_init__` raises as InputError gets the place put in front.
    where: names the place in messages, such as a file.
    Raises InputError that names the key, what it holds and what it takes.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: {_show(values)} stands where keys and values belong: write key: value.")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise InputError(f"{where}: the key {_show(key)} is unknown{_hint(str(key), fields)}.")
    hints = typing.get_type_hints(kind)
    made = {}
    for name, f in fields.items():
        if name in values:
            made[name] = _value(hints[name], values[name], f"{where}: {name}", f.metadata.get(LIMITS, (None, None)))
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}: the key {name} is missing: add it.")
    try:
        return kind(**made)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def differences(old: object, new: object) -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two instances differ, as (path such as "stages[1].steps", old value, new value)."""
    yield from _differences("", old, new)


def plain(value: object) -> Any:
    """An instance as JSON can hold it; `build` of it gives an equal one."""
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def number(kind: type, value: object, what: str, low=None, high=None):
    """A number that a program hands over, as `kind` (int or float); NumPy's and torch's single numbers will do.

    low, high: inclusive limits. what: names it in messages. Raises InputError for anything else.
    """
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()
    if kind is float and isinstance(value, str):
        raise InputError(f"{what} is {_show(value)}: give a finite number.")
    return _scalar(kind, value, what, (low, high))


def check_type(value: object, what: str, kind) -> None:
    """Raises InputError unless an argument is of this class or union of classes."""
    if not isinstance(value, kind):
        wanted = getattr(kind, "__name__", str(kind))
        raise InputError(f"{what} is a {type(value).__name__}: give {wanted}.")


def _value(kind: Any, value: object, where: str, limits: tuple = (None, None)):
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        kinds = [argument for argument in arguments if argument is not type(None)]
        return None if value is None and len(kinds) < len(arguments) else _value(kinds[0], value, where, limits)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            known = ", ".join(map(str, arguments))
            raise InputError(f"{where} is {_show(value)}: give one of {known}{_hint(str(value), arguments, '; ')}.")
        return value
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, where)
    if kind is dict or origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} is {_show(value)}: give keys and values.")
        items = arguments[1] if arguments else Any
        return {key: _value(items, item, f"{where}.{key}", limits) for key, item in value.items()}
    if origin in (list, tuple):
        return _sequence(origin, arguments, value, where, limits)
    return _scalar(kind, value, where, limits)


def _sequence(origin: type, arguments: tuple, value: object, where: str, limits: tuple):
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} is {_show(value)}: give a list, such as [{_show(value)}].")
    fixed = origin is tuple and arguments[-1] is not Ellipsis
    if fixed and len(value) != len(arguments):
        raise InputError(f"{where} has {len(value)} entries: give {len(arguments)}.")
    numbers = arguments[0] in (int, float)
    if not (fixed or numbers):
        _check_limits(len(value), where, limits, "entries")
    kinds = arguments if fixed else arguments[:1] * len(value)
    items = (
        _value(item_kind, item, f"{where}[{number}]", limits if numbers else (None, None))
        for number, (item_kind, item) in enumerate(zip(kinds, value))
    )
    return origin(items)


def _scalar(kind: Any, value: Any, where: str, limits: tuple):
    if kind is float and isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else math.inf
    wrong_bool = isinstance(value, bool) and kind is not bool
    if wrong_bool or not isinstance(value, kind) or (kind is float and not math.isfinite(value)):
        words = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}
        raise InputError(f"{where} is {_show(value)}: give {words.get(kind, kind.__name__)}.")
    _check_limits(len(value) if kind is str else value, where, limits, "letters" if kind is str else "")
    return value


def _check_limits(number: float, where: str, limits: tuple, unit: str) -> None:
    low, high = limits
    if (low is None or number >= low) and (high is None or number <= high):
        return
    allowed = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
    raise InputError(f"{where} {f'has {number} {unit}' if unit else f'is {number}'}: give {allowed}.")


def _differences(path: str, old: object, new: object) -> Iterator[tuple[str, Any, Any]]:
    if dataclasses.is_dataclass(old) and type(old) is type(new):
        for f in dataclasses.fields(old):
            if not f.metadata.get(FREE):
                inner = f"{path}.{f.name}" if path else f.name
                yield from _differences(inner, getattr(old, f.name), getattr(new, f.name))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(f"{path}.{key}", old.get(key), new.get(key))
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new)):
            yield from _differences(f"{path}[{number}]", before, after)
    elif old != new:
        yield path, old, new


def _hint(word: str, known, before: str = ": did you mean ") -> str:
    close = difflib.get_close_matches(word, map(str, known), 1)
    if before.startswith(":"):
        return f": did you mean {close[0]}?" if close else f": known keys are {', '.join(sorted(known))}"
    return f" (did you mean {close[0]}?)" if close else ""


def _show(value: object) -> str:
    return shown(repr(value))


def shown(value: object) -> str:
    """A value as messages show it, in 60 letters at most."""
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
