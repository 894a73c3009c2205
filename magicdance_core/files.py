"""Files and folders at paths that a user names: there before they are read, written whole or not at all."""

import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import stat
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .errors import InputError
from .limits import MAX_JSON_BYTES

# Temporary names say which process on which machine writes, so that a killed one's leftovers are known as such.
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_PART = re.compile(rf"\..*\.magicdance-{_MACHINE}-(\d+)-\d+\.part", re.DOTALL)
_KEPT = 40  # characters of the name in the temporary one, lest that be too long
_numbers = itertools.count()


def as_path(path: str | os.PathLike) -> Path:
    """The path as a Path. Raises InputError where it is none: another type, empty, or with a NUL in it."""
    try:
        text = os.fspath(path)
    except TypeError:
        raise InputError(f"A path is a text, not {type(path).__name__}; give the name of a file or folder.") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{text!r} names no file; give a path.")
    return Path(text)


def existing(path: str | os.PathLike) -> Path:
    """The path of a file or folder that is there and may be reached; InputError else."""
    path = as_path(path)
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be reached ({error.strerror}); check the path.") from error
    return path


def existing_file(path: str | os.PathLike) -> Path:
    """The path of a regular file. Devices and pipes, which may never end, are refused with InputError like the rest."""
    path = existing(path)
    if not path.is_file():
        raise InputError(f"{path} is no file; give the path of one.")
    return path


def read_json(path: str | os.PathLike, wanted: str):
    """What a JSON file holds. wanted: what the file should be, in messages.

    Raises InputError where it is no file or no JSON, is too large, or nested so deep that nothing could use it.
    """
    path = existing_file(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} is larger than {MAX_JSON_BYTES / 1e6:.0f} MB; give {wanted}.")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a readable file.") from error
    except RecursionError:
        raise InputError(f"{path} is nested too deep; give {wanted}.") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not JSON ({error}); give {wanted}.") from error


def files_with_suffix(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The folder's visible files with one of the suffixes, sorted by name, numbers by value."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}); give a readable folder.") from error
    return sorted(files, key=lambda file: _natural(file.name))


def check_target(path: str | os.PathLike, replaces: str | None = None) -> Path:
    """The path, where a file or folder can be written to it; InputError else, before any work is done for it.

    replaces: a folder there may be replaced if it is empty or holds a file of this name; None for a file.
    """
    path = as_path(path)
    if path.name in ("", ".."):
        raise InputError(f"{str(path)!r} names no file or folder that could be written; give a name.")
    try:
        if replaces is not None and path.is_dir():
            if any(path.iterdir()) and not (replaces and (path / replaces).is_file()):
                what = "holds other things than a model" if replaces else "is not empty"
                raise InputError(f"Cannot write {path}: the folder {what}; give another name.")
        elif path.exists() and not (path.is_file() and replaces is None):
            what = "a folder" if path.is_dir() else "something else"
            raise InputError(f"Cannot write {path}: {what} of this name is in the way; give another name.")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
            raise InputError(f"Cannot write {path}: {parent} is no folder that you may write to; give another name.")
    except OSError as error:
        raise _refusal(path, error) from error
    return path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, size: int = 0) -> Iterator[Path]:
    """A temporary file beside `path`, which replaces it when the block succeeds and vanishes when it fails.

    size: bytes that will be written, where that is known. Folders above are made.
    Raises InputError where the system refuses to write, before the block is entered if it can be told then.
    """
    path = check_target(path)
    with _part(path, size) as part:
        part.touch()  # a refusal now is better than one after hours of work
        yield part
        os.replace(part, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all. Raises InputError as `atomic_write` does."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, size: int = 0, replaces: str = "") -> Iterator[Path]:
    """A temporary folder beside `path`, which takes its name when the block succeeds and vanishes when it fails.

    size: as for `atomic_write`. An empty folder at `path` is replaced, and one that holds a file named `replaces`.
    Raises InputError as `atomic_write` does.
    """
    path = check_target(path, replaces)
    with _part(path, size) as part:
        part.mkdir()
        yield part
        if not path.exists():
            os.replace(part, path)
            return
        old = part.with_suffix(".old")
        os.replace(path, old)
        try:
            os.replace(part, path)
        except BaseException:
            os.replace(old, path)
            raise
        _remove(old)


@contextlib.contextmanager
def _part(path: Path, size: int) -> Iterator[Path]:
    part = path.with_name(f".{path.name[-_KEPT:]}.magicdance-{_MACHINE}-{os.getpid()}-{next(_numbers)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        free = shutil.disk_usage(path.parent).free
        if size > free:
            raise InputError(
                f"Cannot write {path}: it takes {size / 1e9:.2f} GB and {free / 1e9:.2f} GB are free there; make room."
            )
        yield part
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        _remove(part)


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes of this machine have left half written in a folder; once in a process."""
    for entry in os.scandir(folder):
        match = _PART.fullmatch(entry.name)
        if match and not _writes(int(match[1]), entry.stat(follow_symlinks=False).st_mtime):
            _remove(Path(entry.path))


def _writes(process: int, since: float) -> bool:
    """Whether the process that changed a file then still runs; a later process may have got its number."""
    import psutil

    try:
        return psutil.Process(process).create_time() <= since
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(path.lstat().st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _refusal(path: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write {path}: {error.strerror or error}; choose another place or make room.")


def _natural(name: str) -> tuple:
    """Sorts 2 before 10; the same as sorting by name where numbers are padded."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name
