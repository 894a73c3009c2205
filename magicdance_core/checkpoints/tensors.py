"""Tensor files: names and shapes are known at once, the tensors are read one at a time."""

import errno
import os
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import InputError

SAFETENSORS = (".safetensors", ".sft")
OUT_OF_MEMORY = ("Cannot allocate memory", "you tried to allocate")  # torch says so in a RuntimeError
WRAPPERS = "_orig_mod."  # torch.compile puts this before the name of what it wraps


class TensorFile:
    """One file of tensors, or the shards of one; nothing of it stays in memory between two reads.

    shapes: name -> shape, without the prefixes of `torch.compile` and of data parallelism.
    metadata: what the header of a safetensors file says besides.
    Raises InputError for a file that is absent, damaged, foreign, too large for the memory, or holds Python code.
    """

    def __init__(self, *paths: Path):
        self.path = paths[0]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self._places: dict[str, tuple[Path, str]] = {}
        for path in paths:
            self._open(path)
        if not self.shapes:
            raise InputError(f"{self.path} holds no tensors: give a model checkpoint.")

    def _open(self, path: Path) -> None:
        if not os.path.isfile(path):  # which never raises
            raise InputError(f"{path} does not exist or is not a file: check the path.")
        try:
            path.open("rb").close()  # tells why it cannot be opened; for safetensors any such file does not exist
            if path.suffix in SAFETENSORS:
                with safe_open(path, framework="pt") as file:
                    self.metadata |= file.metadata() or {}
                    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            else:
                shapes = {name: tuple(tensor.shape) for name, tensor in _unpickle(path).items()}
        except Exception as error:  # foreign bytes make the readers raise nearly anything
            raise InputError(f"{path} {_fault(error)}") from error
        for stored, shape in shapes.items():
            name = stored.replace(WRAPPERS, "").removeprefix("module.")
            self.shapes[name] = shape
            self._places[name] = path, stored

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Pairs (name, tensor) on the CPU, as stored. Copy what is to live on: the tensors map the file."""
        by_path: dict[Path, list[str]] = {}
        for name in names:
            by_path.setdefault(self._places[name][0], []).append(name)
        for path, wanted in by_path.items():
            if path.suffix in SAFETENSORS:
                with safe_open(path, framework="pt") as file:
                    for name in wanted:
                        yield name, file.get_tensor(self._places[name][1])
            else:
                state = _unpickle(path)
                for name in wanted:
                    yield name, state[self._places[name][1]]


class TensorsInMemory:
    """Tensors that another program has loaded already, to be read like a file.

    path: what messages call them.
    """

    def __init__(self, path: str, tensors: dict[str, Tensor]):
        self.path, self._tensors = path, tensors
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.metadata: dict[str, str] = {}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Pairs (name, tensor) on the CPU. Copy what is to live on."""
        for name in names:
            yield name, self._tensors[name].detach().cpu()


Tensors: TypeAlias = TensorFile | TensorsInMemory


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that others may read; safetensors itself makes it private to the user."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(tensors, path, {"format": "pt"} | (metadata or {}))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(0o644)


def _fault(error: Exception) -> str:
    """What is wrong with a file that made its reader raise, and what to do."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a truncated file makes torch seek before its start
        return f"cannot be opened ({error.strerror or error}): check its permissions and its disk."
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return "does not fit into the free memory: close other programs, or take a model of half precision."
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
        return "holds Python code besides tensors, which is never run: take the .safetensors version of the model."
    return "is damaged, incomplete or no checkpoint and cannot be read: download it again."


def _unpickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a torch file; they stay on the disk until touched, except in the format before torch 1.6."""
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    state = state.get("state_dict", state)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
