"""Messages for users: how ComfyUI shows mistakes, and remarks about a run that is no error."""

import logging
from collections.abc import Sequence
from functools import wraps
from typing import Any

from ...magicdance_core import errors


class InputError(errors.InputError):
    """The core's InputError under a title without a path.

    ComfyUI shows an error's class as the title, with the module before it unless that is "builtins"; here the module is
    a path.
    """

    __module__ = "builtins"


def with_plain_errors(node: Any) -> Any:
    """Return a node class whose function raises `InputError` without the pack's stack frames, which ComfyUI logs."""
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


class Remarks:
    """Sentences about a run: in the log, and on the node, where they stay until its next run."""

    def __init__(self) -> None:
        self._shown = False

    def show(self, sentences: Sequence[str]) -> None:
        """Replace the sentences of the run before by these."""
        from comfy_execution.utils import get_executing_context

        for sentence in sentences:
            logging.warning("MagicDance: %s", sentence)
        context = get_executing_context()
        if context is not None and (sentences or self._shown):
            from server import PromptServer

            PromptServer.instance.send_progress_text("\n".join(sentences), context.node_id)
        self._shown = bool(sentences)
