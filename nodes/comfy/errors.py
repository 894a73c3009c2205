"""How a user's mistake appears: ComfyUI shows an error's class as title, its sentence, and the frames it came through.

The title has the class's module in front, here a path, but for classes of Python's own. The frames go into the log.
"""

from functools import wraps
from typing import Any

from ...magicdance_core import errors


class InputError(errors.InputError):
    """The same, for ComfyUI."""

    __module__ = "builtins"


def plainly(node: Any) -> Any:
    """The node class; what its function raises as InputError has that title and no frames of this pack but one."""
    function = getattr(node, node.FUNCTION)

    @wraps(function)
    def run(*args, **inputs):
        try:
            return function(*args, **inputs)
        except errors.InputError as error:
            sentence = str(error)
        raise InputError(sentence)

    setattr(node, node.FUNCTION, run)
    return node
