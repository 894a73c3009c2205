"""Results of measurements on disk, so that an interrupted evaluation resumes where it stopped."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from ..checks import printable
from ..errors import InputError
from ..files import atomic_write, check_folder, read_bytes
from ..limits import MAX_ARCHIVE_BYTES

FORMAT = 1  # part of every key: raised when what is measured changes


class ResultCache:
    """A folder of `.npz` files, each named by the hash of its key; without a folder nothing is cached."""

    def __init__(self, folder: Path | None):
        """Raises InputError if something in the folder leads out of it, or is neither file nor folder."""
        self.folder = folder
        if folder is not None and folder.is_dir():
            check_folder(folder)

    def get(
        self, key: object, measure: Callable[[], dict[str, np.ndarray]], names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """Return the arrays of a key: from the cache, else from `measure`, whose answer is then cached.

        key: all that the arrays depend on, as JSON can write it. names: of the arrays.
        """
        if self.folder is None:
            return measure()
        name = hashlib.sha256(json.dumps([FORMAT, key], sort_keys=True).encode()).hexdigest()[:32]
        path = self.folder / f"{name}.npz"
        arrays = _stored(path) if path.is_file() else None
        if arrays is not None and arrays.keys() == set(names):
            return arrays
        arrays = measure()
        with atomic_write(path) as part, part.open("wb") as file:
            np.savez(file, **arrays)
        return arrays


def _stored(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays in a file; None if it is damaged, so that they are measured again."""
    try:
        data = io.BytesIO(read_bytes(path, MAX_ARCHIVE_BYTES))
        with zipfile.ZipFile(data) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise InputError(f"{path} is compressed, unlike what is written here: remove it.")
            if sum(member.file_size for member in archive.infolist()) > MAX_ARCHIVE_BYTES:
                raise InputError(f"{path} would unpack to too much: remove it.")
        with np.load(data, allow_pickle=False) as file:
            arrays = dict(file)
    except MemoryError:
        raise
    except Exception:  # readers raise nearly anything for damaged bytes
        return None
    numbers = all(isinstance(array, np.ndarray) and array.dtype.kind in "fiub" for array in arrays.values())
    return arrays if numbers else None


def fingerprint(path: Path) -> list:
    """Return what changes when a file, or a file in a folder, does: its path, and a hash of names, sizes and times."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return [printable(str(path.absolute())), hashlib.sha256(json.dumps(states).encode()).hexdigest()]
