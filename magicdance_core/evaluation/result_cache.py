"""Results of measurements on disk, so that an interrupted evaluation resumes where it stopped."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files import atomic_write

FORMAT = 1  # part of every key: raised when what is measured changes


class ResultCache:
    """A folder of `.npz` files, each named by the hash of its key; without a folder nothing is cached."""

    def __init__(self, folder: Path | None):
        self.folder = folder

    def get(self, key: object, measure: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Return the arrays of a key: from the cache, else from `measure`, whose answer is then cached.

        key: all that the arrays depend on, as JSON can write it.
        """
        if self.folder is None:
            return measure()
        name = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.npz"
        if path.is_file():
            try:
                with np.load(path, allow_pickle=False) as file:
                    return dict(file)
            except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
                path.unlink()  # damaged: measured again
        arrays = measure()
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
        return arrays


def fingerprint(path: Path) -> list:
    """Return what changes when a file, or a file in a folder, does: its path, and a hash of names, sizes and times."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [str(path.absolute()), hashlib.sha256(json.dumps(states).encode()).hexdigest()]
