"""Tensor files: names and shapes are known at once, the tensors are read one at a time."""

import errno
import hashlib
import json
import os
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError

SAFETENSORS = (".safetensors", ".sft")
OUT_OF_MEMORY = ("Cannot allocate memory", "you tried to allocate")  # torch says so in a RuntimeError
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_METADATA = 1_000_000  # characters
MAX_SLACK = 2**24  # bytes by which an archive may outgrow twice its size
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
        self._mapped: dict[Path, dict[str, Tensor]] = {}  # of torch files, whose index takes long to read
        for path in paths:
            self._open(path)
        if not self.shapes:
            raise InputError(f"{self.path} holds no tensors: give a model checkpoint.")

    def _open(self, path: Path) -> None:
        if not os.path.isfile(path):  # which never raises
            raise InputError(f"{path} does not exist or is not a file: check the path.")
        with _explained(path):
            path.open("rb").close()  # tells why it cannot be opened; for safetensors any such file does not exist
            if path.suffix in SAFETENSORS:
                with safe_open(path, framework="pt") as file:
                    self.metadata |= file.metadata() or {}
                    shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
            else:
                tensors, mapped = _unpickle(path)
                shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
                if mapped:
                    self._mapped[path] = tensors
        for stored, shape in shapes.items():
            name = stored.replace(WRAPPERS, "").removeprefix("module.")
            self.shapes[name] = shape
            self._places[name] = path, stored

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Pairs (name, tensor) on the CPU, as stored: numbers with a point, all finite; InputError for others.

        Copy what is to live on: the tensors map the file.
        """
        by_path: dict[Path, list[str]] = {}
        for name in names:
            by_path.setdefault(self._places[name][0], []).append(name)
        for path, wanted in by_path.items():
            stored = {name: self._places[name][1] for name in wanted}
            for name, tensor in _stored(path, stored, self._mapped.get(path)):
                yield name, _checked(tensor, name, path)


class TensorsInMemory:
    """Tensors that another program has loaded already, to be read like a file.

    path: what messages call them.
    """

    def __init__(self, path: str, tensors: dict[str, Tensor]):
        self.path, self._tensors = path, tensors
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.metadata: dict[str, str] = {}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Pairs (name, tensor) on the CPU, checked as a file's. Copy what is to live on."""
        for name in names:
            yield name, _checked(self._tensors[name].detach().cpu(), name, self.path)


Tensors: TypeAlias = TensorFile | TensorsInMemory


def metadata(file: Tensors, key: str) -> dict:
    """Keys and values that a file's metadata hold as JSON; none where it has no such key. InputError if damaged."""
    text = file.metadata.get(key, "{}")
    try:
        values = json.loads(text) if len(text) <= MAX_METADATA else None
    except (RecursionError, ValueError):
        values = None
    if not isinstance(values, dict):
        raise InputError(f"The metadata of {file.path} is damaged: download or convert the file again.")
    return values


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file that others may read; safetensors itself makes it private to the user.

    Equal tensors and metadata give equal bytes.
    """
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    try:
        save_file(tensors, path, {"format": "pt"} | (metadata or {}))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    _sort_metadata(path)
    path.chmod(0o644)


def _sort_metadata(path: Path) -> None:
    """Sort the metadata in the header of a safetensors file, which the library writes in random order."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        file.seek(8)
        file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size))


def _stored(path: Path, names: dict[str, str], mapped: dict[str, Tensor] | None) -> Iterator[tuple[str, Tensor]]:
    """Pairs (name, tensor) of one file. names: ours -> the file's. mapped: of a torch file that was opened before."""
    with _explained(path):
        if path.suffix in SAFETENSORS:
            with safe_open(path, framework="pt") as file:
                for name, stored in names.items():
                    yield name, file.get_tensor(stored)
        else:
            state = mapped or _unpickle(path)[0]
            for name, stored in names.items():
                yield name, state[stored]


def _checked(tensor: Tensor, name: str, source: Path | str) -> Tensor:
    if tensor.dtype not in FLOATS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(
            f"{source}: {name} is {kind}, which are no weights; give a model in float32, float16 or bfloat16."
        )
    if tensor.numel() and not all(torch.isfinite(end) for end in torch.aminmax(tensor)):
        raise InputError(
            f"{source}: {name} holds numbers that are not finite (NaN, infinity); give an undamaged model."
        )
    return tensor


def _unpickle(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a torch file; whether they stay on the disk until touched: not in the format before torch 1.6."""
    zipped = zipfile.is_zipfile(path)
    if zipped:
        _check_archive(path)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict):
        raise InputError(f"{path} holds no named tensors: give a model checkpoint.")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise InputError(f"{path} numbers its tensors ({name!r}) where names belong: give a model checkpoint.")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise InputError(f"{path}: {name} is no plain tensor: give a model checkpoint.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{path}: {name} claims more numbers than the file holds: download it again.")
    return tensors, zipped


def _check_archive(path: Path) -> None:
    """torch packs without compressing, so what grows in unpacking was made to fill the memory."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 2 * path.stat().st_size + MAX_SLACK:
        raise InputError(
            f"{path} would grow to {unpacked / 1e9:.1f} GB in unpacking: give the model as torch wrote it."
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """What the readers raise, as InputError; foreign bytes make them raise nearly anything."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} {_fault(error)}") from error


def _fault(error: Exception) -> str:
    """What is wrong with a file that made its reader raise, and what to do."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a truncated file makes torch seek before its start
        return f"cannot be opened ({error.strerror or error}): check its permissions and its disk."
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return "does not fit into the free memory: close other programs, or take a model of half precision."
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
        return "holds Python code besides tensors, which is never run: take the .safetensors version of the model."
    return "is damaged, incomplete or no checkpoint and cannot be read: download it again."


def weights_fingerprint(network: nn.Module) -> str:
    """Changes with any weight of a network."""
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in network.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
