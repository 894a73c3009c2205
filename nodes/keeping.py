"""What a node keeps between two runs, so that one changed widget reloads nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


class Kept:
    """The last thing made, for as long as the node is in the graph and what it was made from stays the same."""

    def __init__(self):
        self._key = self._value = None

    def __call__(self, key, make: Callable):
        if self._value is None or key != self._key:
            self._key = self._value = None  # the old one may go before the new one comes
            self._value, self._key = make(), key
        return self._value


def identity(path: Path) -> tuple:
    """A file or model folder in its present state."""
    state = (path / "model_index.json" if path.is_dir() else path).stat()
    return str(path), state.st_mtime_ns, state.st_size
