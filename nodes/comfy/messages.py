"""Messages for users: how ComfyUI shows mistakes, and remarks about a run that is no error."""

import logging
from collections.abc import Sequence
from functools import wraps
from typing import Any

from ...magicdance_core import errors


class PlainInputError(errors.InputError):
    """The core's InputError, which ComfyUI shows under the title "InputError".

    The title is the name of the error's class, after that of its module unless this is "builtins"; the pack's modules
    are named by their path.
    """

    __module__, __qualname__ = "builtins", "InputError"


def with_plain_errors(node: Any) -> Any:
    """Return a node class whose function raises `PlainInputError`, whose traceback has no frames of the core."""
    function = getattr(node, node.FUNCTION)

    @wraps(function)
    def run(*args, **inputs):
        try:
            return function(*args, **inputs)
        except errors.InputError as error:
            sentence = str(error)
        raise PlainInputError(sentence)

    setattr(node, node.FUNCTION, run)
    return node


class Remarks:
    """Sentences about a run: in the log, and on the node, where they stay until its next run.

    `results` also hands them to the web extension (web/js/messages.js), which shows them whole, and again when ComfyUI
    takes the node's results from its cache.
    """

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

    @staticmethod
    def results(sentences: Sequence[str], node_id: str, *results: Any) -> Any:
        """Return what a node's function returns. node_id: the node's key in NODE_CLASS_MAPPINGS."""
        if not sentences:
            return results
        remarks = [{"type": node_id, "sentence": sentence} for sentence in sentences]
        return {"ui": {"magicdance_remarks": remarks}, "result": results}
