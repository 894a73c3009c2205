"""Options of commands that have several modes: one that the chosen mode ignores is refused."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Default:
    """The default of an option, which tells that the option was not given."""

    value: Any


def mark_defaults(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """Wrap the defaults of options, so that `is_given` and `check_options` can tell which were given."""
    parser.set_defaults(marked=frozenset(names), **{name: Default(parser.get_default(name)) for name in names})


def is_given(options: argparse.Namespace, name: str) -> bool:
    """Return whether an option stands on the command line."""
    return not isinstance(getattr(options, name), Default)


def check_options(options: argparse.Namespace, mode: str, used: Collection[str]) -> argparse.Namespace:
    """Return the options with defaults unwrapped. Raises InputError if one is given that the mode does not use.

    mode: its name in the message. used: names of the options that it uses, as attributes.
    """
    values = {}
    for name, value in vars(options).items():
        marked = isinstance(value, Default)
        if not marked and name in options.marked and name not in used:
            raise InputError(f"--{name.replace('_', '-')} has no effect {mode}: leave it out.")
        values[name] = value.value if marked else value
    return argparse.Namespace(**values)
