"""Arrays that are slow to make, kept on the disk under a name that says everything they depend on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..files import atomic_folder

Shapes = Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]]


def digest(value: object) -> str:
    """Return 16 hexadecimal digits that change with the `repr` of a value."""
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()


class ArrayCache:
    """Memory-mapped arrays in a folder that several processes and runs may share.

    The folder is named after a digest of the key, so that arrays of another key are never read.
    """

    def __init__(self, parent: Path, name: str, key: object, shapes: Shapes):
        """key: everything that the arrays depend on. shapes: name of each array -> its dtype and shape."""
        self.folder, self._shapes = parent / f"{name}-{digest(key)}", shapes
        self._arrays: dict[str, np.ndarray] | None = None

    def make(self) -> None:
        """Create the arrays, filled with zeros, unless they exist."""
        if self.folder.exists():
            return
        size = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in self._shapes.values())
        try:
            with atomic_folder(self.folder, size) as part:
                for name, (dtype, shape) in self._shapes.items():
                    np.lib.format.open_memmap(part / f"{name}.npy", "w+", np.dtype(dtype), shape)
        except InputError:
            if not self.folder.exists():  # otherwise another process was faster
                raise

    def open(self) -> dict[str, np.ndarray]:
        """Return the arrays, mapped for reading and writing, made first if missing; InputError if they are damaged."""
        if self._arrays is None:
            self.make()
            try:
                arrays = {name: np.load(self.folder / f"{name}.npy", mmap_mode="r+") for name in self._shapes}
                for name, (dtype, shape) in self._shapes.items():
                    found = arrays[name]
                    if found.shape != shape or found.dtype != np.dtype(dtype):
                        raise ValueError(f"{name} is {found.dtype} {found.shape}, not {np.dtype(dtype)} {shape}")
            except Exception as error:  # NumPy raises nearly anything for damaged headers
                if isinstance(error, MemoryError):
                    raise
                reason = str(error).split("\n")[0]
                raise InputError(f"{self.folder} is damaged ({reason}): remove it, and it is made again.") from error
            self._arrays = arrays
        return self._arrays

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_arrays": None}  # each process maps the arrays itself
