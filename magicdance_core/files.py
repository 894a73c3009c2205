"""Files and folders at paths that a user gives: checked before they are read, written completely or not at all."""

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
import stat
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from .errors import InputError
from .limits import MAX_JSON_BYTES

# Temporary names contain process and machine, so that the leftovers of a killed process are recognised.
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_PART = re.compile(rf"\..*\.magicdance-{_MACHINE}-(\d+)-[0-9a-f]{{16}}\.part", re.DOTALL)
_MAX_NAME = 40  # characters of the name in the temporary one, which would be too long otherwise


def as_path(path: str | os.PathLike) -> Path:
    """Return the path as a Path. Raises InputError if it has another type, is empty, or contains a NUL."""
    try:
        text = os.fspath(path)
    except TypeError:
        raise InputError(f"A path is a text, not {type(path).__name__}: give the name of a file or folder.") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError(f"{text!r} names no file: give a path.")
    return Path(text)


def existing(path: str | os.PathLike) -> Path:
    """Return the path of an existing file or folder. Raises InputError if it is missing or cannot be reached."""
    path = as_path(path)
    try:
        path.stat()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: check the path.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be reached ({error.strerror}): check the path.") from error
    return path


def existing_file(path: str | os.PathLike) -> Path:
    """Return the path of a regular file. Raises InputError for anything else: devices and pipes may never end."""
    path = existing(path)
    if not path.is_file():
        raise InputError(f"{path} is no file: give the path of one.")
    return path


def resolve_inside(folder: Path, name: object, what: str) -> Path:
    """Return where a name that a file of a folder contains leads, links resolved.

    what: the thing that is named, in messages. Raises InputError unless the name is a relative path that stays inside
    the folder: data sets and run folders of strangers must not read or write elsewhere.
    """
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{folder}: {what} is named {name!r}: give the name of a file inside the folder.")
    try:
        base = folder.resolve()
        path = (base / name).resolve()
        inside = not Path(name).is_absolute() and path != base and path.is_relative_to(base)
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
        inside = False
    if not inside:
        raise InputError(f"{folder}: {what} is named {name!r}, which leads out of the folder: remove it.")
    return path


def read_json(path: str | os.PathLike, wanted: str):
    """Return the contents of a JSON file. wanted: what the file should be, in messages.

    Raises InputError if it is no file or no JSON, is too large, or nested too deeply.
    """
    path = existing_file(path)
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} is larger than {MAX_JSON_BYTES / 1e6:.0f} MB: give {wanted}.")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a readable file.") from error
    except RecursionError:
        raise InputError(f"{path} is nested too deeply: give {wanted}.") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not JSON ({error}): give {wanted}.") from error


def files_with_suffix(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return a folder's visible files with one of the suffixes, sorted by name, numbers by value."""
    try:
        files = [file for file in folder.iterdir() if file.suffix.lower() in suffixes and not file.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}): give a readable folder.") from error
    return sorted(files, key=lambda file: _natural(file.name))


def check_target(path: str | os.PathLike, replaces: str | None = None) -> Path:
    """Return the path if a file or folder can be written there. Raises InputError otherwise, before any work is done.

    replaces: an existing folder may be replaced if it is empty or contains a file of this name; None for a file.
    """
    path = as_path(path)
    if path.name in ("", ".."):
        raise InputError(f"{str(path)!r} names no file or folder that could be written: give a name.")
    try:
        if replaces is not None and path.is_dir():
            if any(path.iterdir()) and not (replaces and (path / replaces).is_file()):
                what = "contains other things than a model" if replaces else "is not empty"
                raise InputError(f"Cannot write {path}: the folder {what}: give another name.")
        elif path.exists() and not (path.is_file() and replaces is None):
            what = "a folder" if path.is_dir() else "something else"
            raise InputError(f"Cannot write {path}: {what} of this name is in the way: give another name.")
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
            raise InputError(f"Cannot write {path}: {parent} is no folder that you may write to: give another name.")
    except OSError as error:
        raise _refusal(path, error) from error
    return path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, size: int = 0) -> Iterator[Path]:
    """Yield a temporary file beside `path`, which replaces it if the block succeeds and is removed if it fails.

    size: bytes that will be written, if known. Parent folders are created.
    Raises InputError if the system refuses to write, before the block is entered if possible.
    """
    path = check_target(path)
    with _part(path, size) as part:
        # A refusal now is better than one after hours of work. Exclusive, so that no link of another user is followed.
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0), 0o644))
        yield part
        os.replace(part, path)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file in UTF-8, completely or not at all. Raises InputError as `atomic_write` does."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike, size: int = 0, replaces: str = "") -> Iterator[Path]:
    """Yield a temporary folder beside `path`, which takes its name if the block succeeds and is removed if it fails.

    size: as for `atomic_write`. An empty folder at `path` is replaced, and one that contains a file named `replaces`.
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
    part = path.with_name(f".{path.name[-_MAX_NAME:]}.magicdance-{_MACHINE}-{os.getpid()}-{secrets.token_hex(8)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(path.parent)
        free = shutil.disk_usage(path.parent).free
        if size > free:
            raise InputError(
                f"Cannot write {path}: it takes {size / 1e9:.2f} GB and {free / 1e9:.2f} GB are free there: make room."
            )
        yield part
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        _remove(part)


@cache
def remove_leftovers(folder: Path) -> None:
    """Remove temporary files that killed processes of this machine left in a folder; once per process."""
    for entry in os.scandir(folder):
        match = _PART.fullmatch(entry.name)
        if match and not _writes(int(match[1]), entry.stat(follow_symlinks=False).st_mtime):
            _remove(Path(entry.path))


def _writes(process: int, since: float) -> bool:
    """Return whether the process that wrote a file then still runs; its number may belong to a later process."""
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
    return InputError(f"Cannot write {path}: {error.strerror or error}: choose another place or make room.")


def _natural(name: str) -> tuple:
    """Return a sorting key that puts 2 before 10; the order of padded numbers stays that of their names."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)], name
