"""Measured arrays on disk, so that an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files import atomic_write

FORMAT = 1  # to be raised when what is measured changes


class Kept:
    """A folder of arrays, each file named by all that its content depends on; without a folder nothing is kept."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def get(self, key: object, measure: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of a key, which JSON can write: read where they are kept, else measured and kept."""
        if self.folder is None:
            return measure()
        name = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.npz"
        if path.is_file():
            try:
                with np.load(path, allow_pickle=False) as file:
                    return dict(file)
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                path.unlink()  # damaged from outside: measured anew
        arrays = measure()
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
        return arrays


def fingerprint(path: Path) -> list:
    """What changes when a video's file, or a file in a folder of frames, does: names, sizes and times."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [str(path.absolute()), hashlib.sha256(json.dumps(states).encode()).hexdigest()]
