"""Writing so that a failure leaves nothing behind and never a half-written file."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError


def check_target(path: Path) -> None:
    """Raise InputError where writing to `path` cannot succeed, before any work is done for it."""
    if path.is_dir() and any(path.iterdir()) and not (path / "model_index.json").is_file():
        raise InputError(f"{path} is a folder that holds other things than a model: give another name.")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not (parent.is_dir() and os.access(parent, os.W_OK)):
        raise InputError(f"{path} cannot be written, for {parent} is no folder that you may write to: give another.")


@contextmanager
def atomic(path: Path, size: int) -> Iterator[Path]:
    """A temporary sibling of `path` to write a file or a folder to; it takes the name `path` in the end.

    size: bytes that will be written. A previous file, or a previous model folder, is replaced.
    Raises InputError where `check_target` does, and where the disk has no room or fails.
    """
    check_target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if size > free:
            raise InputError(
                f"{path} needs {size / 1e9:.2f} GB but only {free / 1e9:.2f} GB are free there: "
                "make room or write elsewhere."
            )
        yield temporary
        _replace(path, temporary)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be written ({error}): make room or write elsewhere.") from error
    finally:
        _remove(temporary)


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that others may read; safetensors itself makes it private to the user."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, {"format": "pt"} | (metadata or {}))
    path.chmod(0o644)


def _replace(path: Path, temporary: Path) -> None:
    if not path.is_dir():
        os.replace(temporary, path)
        return
    old = temporary.with_suffix(".old")
    os.replace(path, old)
    os.replace(temporary, path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()
