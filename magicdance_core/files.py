"""Files and folders at paths that a user gives: checked before they are read, written completely or not at all."""

import contextlib
import errno
import hashlib
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
from .limits import MAX_FILE_BYTES, MAX_JSON_BYTES

# Temporary names contain process and machine, so that the leftovers of a killed process are recognised.
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_PART = re.compile(rf"\..*\.magicdance-{_MACHINE}-(\d+)-[0-9a-f]{{16}}\.part", re.DOTALL)
_ENDS = 2**20  # bytes at either end of a file that are compared
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
        inside = inside and not path.is_symlink()  # what resolve leaves of a loop of links, since Python 3.13
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that is too long
        inside = False
    if not inside:
        raise InputError(f"{folder}: {what} is named {name!r}, which leads out of the folder: remove it.")
    return path


def check_folder(folder: Path) -> None:
    """Raise InputError if something in a folder, at any depth, is neither file nor folder, or is a link out of it.

    For data sets and run folders of strangers, before they are used: pipes and devices may never end, and links read
    and write elsewhere.
    """
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        resolve_inside(folder, os.path.relpath(entry.path, folder), "a link")
                    elif entry.is_dir():
                        waiting.append(Path(entry.path))
                    elif not entry.is_file():
                        raise InputError(f"{entry.path} is neither a file nor a folder: remove it.")
        except OSError as error:
            raise InputError(f"{here} cannot be listed ({error.strerror}): give a readable folder.") from error


def read_bytes(path: str | os.PathLike, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the contents of a regular file. Raises InputError if it cannot be read or has more than `max_bytes`."""
    path = existing_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)  # it may grow while it is read
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give a readable file.") from error
    if len(data) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes / 1e6:.0f} MB: give a smaller file.")
    return data


def content_digest(path: Path) -> str:
    """Return 32 hexadecimal digits that change with the contents of a file, or the pictures of a folder.

    Of large files only the size and both ends are read, so that it costs nothing beside decoding them.
    """
    digest = hashlib.blake2b(digest_size=16)
    inside = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    for file in inside:
        with file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            digest.update(f"{file.name!r} {size} ".encode() if path.is_dir() else f"{size} ".encode())
            for start in (0, max(0, size - _ENDS)) if file in (inside[0], inside[-1]) else ():
                opened.seek(start)
                digest.update(opened.read(_ENDS))
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Return 16 hexadecimal digits that change with the contents of a file, or of the visible files in a folder, at any
    depth; see `content_digest`."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    digests = [f"{file.name!r} {content_digest(file)}" for file in files]
    return hashlib.blake2b("\n".join(digests).encode(), digest_size=8).hexdigest()


def read_json(path: str | os.PathLike, wanted: str):
    """Return the contents of a JSON file. wanted: what the file should be, in messages.

    Raises InputError if it is no file or no JSON, is too large, or nested too deeply.
    """
    path = existing_file(path)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise InputError(f"{path} is larger than {MAX_JSON_BYTES / 1e6:.0f} MB: give {wanted}.")
    try:
        return json.loads(read_bytes(path, MAX_JSON_BYTES))
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
    """Write a text file in UTF-8, completely or not at all. Raises InputError as `atomic_write` does.

    What UTF-8 lacks, such as undecodable bytes of file names, is written as an escape sequence.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike, data: bytes) -> None:
    """Write a file completely or not at all. Raises InputError as `atomic_write` does, also if a disk cut it short."""
    with atomic_write(path, len(data)) as part:
        part.write_bytes(data)
        if part.stat().st_size != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    made = [folder for folder in path.absolute().parents if not folder.exists()]
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
        with contextlib.suppress(OSError):  # of a failed write nothing stays, the folders made for it included
            for folder in made:
                folder.rmdir()  # refused by the system unless it is empty


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
