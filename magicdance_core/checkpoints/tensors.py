"""Read and write tensor files: names and shapes are read at once, tensors one at a time."""

import errno
import hashlib
import json
import os
import pickle
import typing
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..errors import InputError

SAFETENSORS = (".safetensors", ".sft")
OUT_OF_MEMORY = ("Cannot allocate memory", "you tried to allocate")  # in RuntimeErrors of torch
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_METADATA = 1_000_000  # characters
MAX_SLACK = 2**24  # bytes that an archive may unpack to beyond twice its size
COMPILED_PREFIX = "_orig_mod."  # of modules wrapped by torch.compile


class TensorFile:
    """A file of tensors, or its shards; tensors are not kept in memory between reads.

    shapes: name -> shape, without the prefixes of `torch.compile` and data parallelism.
    metadata: of a safetensors file.
    Raises InputError for a file that is missing, damaged, of another format, too large for the memory, or has Python
    code.
    """

    def __init__(self, *paths: Path):
        self.path = paths[0]
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.metadata: dict[str, str] = {}
        self._places: dict[str, tuple[Path, str]] = {}
        self._mapped: dict[Path, dict[str, Tensor]] = {}  # of torch files, whose index is slow to read
        for path in paths:
            self._open(path)
        if not self.shapes:
            raise InputError(f"{self.path} has no tensors: give a model checkpoint.")

    def _open(self, path: Path) -> None:
        if not os.path.isfile(path):  # isfile never raises
            raise InputError(f"{path} does not exist or is not a file: check the path.")
        with _as_input_errors(path):
            path.open("rb").close()  # raises the reason; safetensors reports any such file as missing
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
            name = stored.replace(COMPILED_PREFIX, "").removeprefix("module.")
            self.shapes[name] = shape
            self._places[name] = path, stored

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield pairs (name, tensor) on the CPU, as stored. Raises InputError unless they are finite floats.

        The tensors may be memory-mapped: copy those that are kept.
        """
        by_path: dict[Path, list[str]] = {}
        for name in names:
            by_path.setdefault(self._places[name][0], []).append(name)
        for path, wanted in by_path.items():
            stored = {name: self._places[name][1] for name in wanted}
            for name, tensor in _stored(path, stored, self._mapped.get(path)):
                yield name, checked_tensor(tensor, name, path)


class TensorsInMemory:
    """Tensors in memory that are read like a file. path: their origin, in messages."""

    def __init__(self, path: str, tensors: dict[str, Tensor]):
        self.path, self._tensors = path, tensors
        self.shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.metadata: dict[str, str] = {}

    def read(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yield pairs (name, tensor) on the CPU, checked like those of a file. Copy those that are kept."""
        for name in names:
            yield name, checked_tensor(self._tensors[name].detach().cpu(), name, self.path)


Tensors: TypeAlias = TensorFile | TensorsInMemory


def metadata(file: Tensors, key: str) -> dict:
    """Return the JSON object under a key of a file's metadata, empty if missing. Raises InputError if damaged."""
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
    """Yield pairs (name, tensor) of a file. names: ours -> stored. mapped: tensors of a torch file opened before."""
    with _as_input_errors(path):
        if path.suffix in SAFETENSORS:
            with safe_open(path, framework="pt") as file:
                for name, stored in names.items():
                    yield name, file.get_tensor(stored)
        else:
            state = mapped or _unpickle(path)[0]
            for name, stored in names.items():
                yield name, state[stored]


def checked_tensor(tensor: Tensor, name: str, source: Path | str) -> Tensor:
    """Return a tensor of a file. Raises InputError unless they are finite floats. source: the file, in messages."""
    if tensor.dtype not in FLOATS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{source}: {name} has dtype {kind}: give a model in float32, float16 or bfloat16.")
    if tensor.numel() and not all(torch.isfinite(end) for end in torch.aminmax(tensor)):
        raise InputError(f"{source}: {name} has values that are not finite (NaN, infinity): give an undamaged model.")
    return tensor


def _unpickle(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Return the tensors of a torch file, and whether they are memory-mapped (not in the format before torch 1.6)."""
    zipped = zipfile.is_zipfile(path)
    if zipped:
        check_archive(path)
    with _harmless_names():
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    for key in ("state_dict", "model_state_dict", "module"):  # of trainers; the last is DeepSpeed's
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise InputError(f"{path} has no named tensors: give a model checkpoint.")
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    for name, tensor in tensors.items():
        if not isinstance(name, str):
            raise InputError(f"{path} has tensors with numbers ({name!r}) instead of names: give a model checkpoint.")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise InputError(f"{path}: {name} is not a dense tensor on the CPU: give a model checkpoint.")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{path}: {name} claims more values than the file has: download it again.")
    return tensors, zipped


def _harmless_names() -> AbstractContextManager:
    """Let torch.load take a name beyond its own: typing.OrderedDict, which makes an OrderedDict (amt-s.pth has it)."""
    if hasattr(torch.serialization, "safe_globals"):
        return torch.serialization.safe_globals([typing.OrderedDict])
    torch.serialization.add_safe_globals([typing.OrderedDict])  # torch 2.4 cannot take it back
    return nullcontext()


def check_archive(path: Path) -> None:
    """Raise InputError for an archive made to fill the memory: torch does not compress, so that it should not grow."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > 2 * path.stat().st_size + MAX_SLACK:
        raise InputError(f"{path} would unpack to {unpacked / 1e9:.1f} GB: give the model as torch wrote it.")


@contextmanager
def _as_input_errors(path: Path) -> Iterator[None]:
    """Raise the errors of readers, which may be any for foreign files, as InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} {_explain(error)}") from error


def _explain(error: Exception) -> str:
    """Return what is wrong with a file whose reader raised `error`, and what to do."""
    if isinstance(error, OSError) and error.errno != errno.EINVAL:  # torch seeks before the start of a truncated file
        return f"cannot be opened ({error.strerror or error}): check its permissions and its disk."
    if isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY):
        return "does not fit into free memory: close other programs, or use a model in half precision."
    if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
        return "contains Python code, which is never run: use the .safetensors version of the model."
    return "is damaged, incomplete or not a checkpoint: download it again."


def weights_fingerprint(network: nn.Module) -> str:
    """Return a hash of all weights of a network."""
    digest = hashlib.blake2b(digest_size=8)
    for name, weight in network.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
