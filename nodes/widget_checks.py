"""Checks of a node's inputs when it runs.

ComfyUI checks the values of widgets before a run, but not those that arrive by a link; outputs of any type can be
connected to all sockets; and scripts may call the nodes without it.
"""

import inspect
from functools import wraps
from typing import Any

from ..magicdance_core import checks
from ..magicdance_core.errors import InputError
from .socket_checks import check_sockets

MAX_TEXT = 4096  # characters of a text widget
NUMBERS = {"INT": int, "FLOAT": float}
LINKED: Any = object()  # default of VALIDATE_INPUTS, to which ComfyUI does not pass inputs that are linked


def with_checked_widgets(node: Any) -> Any:
    """Return a node class whose function checks its inputs by `INPUT_TYPES` and `VALIDATE_INPUTS` before it begins."""
    function = getattr(node, node.FUNCTION)

    @wraps(function)
    def run(self, *args, **inputs):
        types = node.INPUT_TYPES()
        given = dict(zip([*types["required"], *types.get("optional", {})], args)) | inputs
        given |= check_widgets(node, given)
        check_sockets(node, given)
        return function(self, **given)

    setattr(node, node.FUNCTION, run)
    return node


def check_widgets(node: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a node's widgets among `values`; numbers of NumPy and torch become Python's.

    Raises InputError for a value that is of another type, out of its range, too long or not in its list.
    """
    validate = getattr(node, "VALIDATE_INPUTS", None)
    validated = inspect.signature(validate).parameters if validate else {}
    types = node.INPUT_TYPES()
    checked: dict[str, Any] = {}
    for name, (kind, options) in (types["required"] | types.get("optional", {})).items():
        if name not in values:
            continue
        if validate and name in validated:  # file names, whose lists may be outdated
            checked[name] = _string(name, values[name])
            if (answer := validate(**{name: values[name]})) is not True:
                raise InputError(str(answer))
        elif isinstance(kind, list):
            checked[name] = _choice(name, values[name], kind)
        elif kind in NUMBERS:
            checked[name] = checks.number(NUMBERS[kind], values[name], f"`{name}`", options["min"], options["max"])
        elif kind == "BOOLEAN":
            checked[name] = _toggle(name, values[name])
        elif kind == "STRING":
            checked[name] = _text(name, values[name])
    return checked


def _choice(name: str, value: object, names: list[str]) -> str:
    if not isinstance(value, str) or value not in names:
        some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        raise InputError(f"`{name}` is {checks.quoted(value)}, which is not in its list: choose one of {some}.")
    return value


def _toggle(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"`{name}` is {checks.quoted(value)}: give true or false.")
    return value


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"`{name}` is {checks.quoted(value)}: give a text.")
    return value


def _text(name: str, value: object) -> str:
    value = _string(name, value)
    if len(value) > MAX_TEXT:
        raise InputError(f"`{name}` has {len(value):,} characters: give at most {MAX_TEXT:,}.")
    return value
