"""Configurations: dataclasses that pydantic fills from YAML or JSON; a mistake is one sentence."""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError

from .checks import limits, quoted, shown
from .errors import InputError

T = TypeVar("T")
UNKNOWN_KEY = ("unexpected_keyword_argument", "invalid_key")
WRONG_LENGTH = ("missing", "too_short", "too_long", "string_too_short", "string_too_long")
OUT_OF_RANGE = ("greater_than_equal", "less_than_equal")
WANTED = {
    "int_type": "a whole number",
    "float_type": "a finite number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "bool_type": "true or false",
    "dict_type": "keys and values",
}


class Configuration:
    """Base of the dataclasses that `build` fills: no unknown key, no conversion of types, finite numbers only."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return {**handler(source), "strict": False}  # a dict may stand for the dataclass; the fields stay strict


def _float(value: object) -> object:
    if type(value) in (int, str):
        try:
            return float(value)  # type: ignore[arg-type]
        except ValueError:
            return value
        except OverflowError:
            return math.inf
    return value


Float = Annotated[float, BeforeValidator(_float)]
"""A float that may be written as a whole number, or as 1e-3, which YAML takes for a text."""
ListOf = Annotated[list[T], BeforeValidator(lambda value: list(value) if isinstance(value, tuple) else value)]
PairOf = Annotated[tuple[T, T], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]


def setting(default: Any = dataclasses.MISSING, *, free: bool = False, **constraints: Any) -> Any:
    """Return a dataclass field with constraints.

    default: a list or dict is copied for each instance; without one the key is required. constraints: of
    `pydantic.Field`, such as ge, le, min_length. free: the key does not influence the result of a run, so
    `differences` ignores it.
    """
    metadata = {"free": free, **constraints}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def build(kind: type[T], values: object, where: str) -> T:
    """Return an instance of the `Configuration` `kind`, filled from a dict of plain values.

    where: names the source of the values in messages, such as a file.
    Raises InputError that names the key, its value and what to write, also for what `__post_init__` refuses.
    """
    try:
        return _adapter(kind).validate_python(values)  # type: ignore[arg-type]  # mypy takes type[T] for unhashable
    except ValidationError as error:
        # An unknown key first: it may be the misspelt name of one that is missing.
        first = min(error.errors(include_url=False), key=lambda found: found["type"] not in UNKNOWN_KEY)
        raise InputError(_sentence(kind, first, where)) from error


def differences(old: object, new: object, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the keys in which two instances differ, as (path such as "stages[1].steps", old value, new value)."""
    if isinstance(old, Configuration) and type(old) is type(new):
        for f in dataclasses.fields(old):  # type: ignore[arg-type]
            if not f.metadata.get("free"):
                inner = f"{path}.{f.name}" if path else f.name
                yield from differences(getattr(old, f.name), getattr(new, f.name), inner)
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in old | new:
            yield from differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new)):
            yield from differences(before, after, f"{path}[{number}]")
    elif old != new:
        yield path, old, new


def plain(value: object) -> Any:
    """Return an instance as JSON can hold it; `build` of it gives an equal one."""
    return TypeAdapter(Any).dump_python(value, mode="json")


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _sentence(kind: type, error: Any, where: str) -> str:
    """Return an error of pydantic as one sentence."""
    what, keys, value = error["type"], error["loc"], error["input"]
    if what in UNKNOWN_KEY or (what == "missing" and isinstance(keys[-1], str)):
        *keys, key = keys
        if what == "missing":
            return f"{_place(where, keys)}: the key {key} is missing: add it."
        known = sorted(_described(kind, keys)["properties"])
        hint = _did_you_mean(key, known) or f"known keys are {', '.join(known)}."
        return f"{_place(where, keys)}: the key {quoted(key)} is unknown: {hint}"
    if what == "missing":  # an entry of a pair
        keys = keys[:-1]
    place, described = _place(where, keys), _described(kind, keys)
    if what == "value_error":  # raised by __post_init__
        return f"{place}: {error['ctx']['error']}"
    if what == "dataclass_type":
        return f"{place}: {quoted(value)} stands where keys and values belong: write key: value."
    low, high = (
        next((described[f"{end}{of}"] for of in ("imum", "Items", "Length") if f"{end}{of}" in described), None)
        for end in ("min", "max")
    )
    if what in WRONG_LENGTH:
        unit = "characters" if isinstance(value, str) else "entries"
        return f"{place} has {len(value)} {unit}: give {limits(low, high)}."
    if what in OUT_OF_RANGE:
        return f"{place} is {shown(value)}: give {limits(low, high)}."
    if what == "literal_error":
        known = described.get("enum", [described.get("const")])
        hint = _did_you_mean(value, known)
        return f"{place} is {quoted(value)}: give one of {', '.join(known)}{hint and f' ({hint})'}."
    wanted = f"a list, such as [{quoted(value)}]" if what in ("list_type", "tuple_type") else WANTED.get(what)
    return f"{place} is {quoted(value)}: give {wanted or error['msg']}."


def _place(where: str, keys: Iterable[str | int]) -> str:
    """Return "file: stages[1]: steps" of ("stages", 1, "steps")."""
    return where + "".join(f"[{key}]" if isinstance(key, int) else f": {key}" for key in keys)


def _described(kind: type, keys: Iterable[str | int]) -> dict[str, Any]:
    """Return the JSON schema of the value under these keys."""
    whole = _adapter(kind).json_schema()

    def resolved(schema: dict[str, Any]) -> dict[str, Any]:
        for several in ("anyOf", "allOf"):  # of X | None the X
            schema = schema.get(several, [schema])[0]
        return whole["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    found = resolved(whole)
    for key in keys:
        if isinstance(key, int):
            inner = found.get("items") or found["prefixItems"][key]
        else:
            inner = found.get("properties", {}).get(key) or found.get("additionalProperties") or {}
        found = resolved(inner)
    return found


def _did_you_mean(word: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(word), known, 1)
    return f"did you mean {close[0]}?" if close else ""
