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

    The web extension (web/js/messages.js) shows them whole, and again when ComfyUI takes the node's results from its
    cache.
    """

    def __init__(self, node_type: str) -> None:
        """node_type: the node's key in NODE_CLASS_MAPPINGS."""
        self._type = node_type
        self._sentences: list[str] = []

    def show(self, sentences: Sequence[str]) -> None:
        """Replace the sentences of the run before by these."""
        changed = bool(sentences or self._sentences)
        self._sentences = []
        if changed:
            self._send(sentences)

    def add(self, sentence: str) -> None:
        """Show one more sentence while the node runs."""
        self._send([sentence])

    def _send(self, sentences: Sequence[str]) -> None:
        from comfy_execution.utils import get_executing_context

        self._sentences += sentences
        for sentence in sentences:
            logging.warning("MagicDance: %s", sentence)
        context = get_executing_context()
        if context is not None:
            from server import PromptServer

            server = PromptServer.instance
            server.send_progress_text("\n".join(self._sentences), context.node_id)
            remarks = {"node": context.node_id, "type": self._type, "sentences": list(sentences)}
            server.send_sync("magicdance.remarks", remarks, server.client_id)
