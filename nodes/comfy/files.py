"""ComfyUI's input and output folders, and its videos as files."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .folders import confined

EXAMPLE = " [example]"  # after the name of a file that comes with the pack, as ComfyUI writes [input] and [output]
NAMELESS = "MagicDance"


def input_files(suffixes: tuple[str, ...], examples: Path) -> list[str]:
    """The files with one of the suffixes: of ComfyUI's input folder, then the pack's examples, marked as such."""
    import folder_paths

    base = Path(folder_paths.get_input_directory())
    found = (file.relative_to(base) for file in base.rglob("*") if file.suffix.lower() in suffixes)
    files = sorted(name.as_posix() for name in found if confined(base, str(name)))
    return files + sorted(file.name + EXAMPLE for file in examples.glob("*") if file.suffix in suffixes)


def input_path(name: str, examples: Path) -> Path | None:
    """Where a name of `input_files` is on the disk; ComfyUI's [output] and [temp] after it name those folders.

    None where it leads out of its folder: nothing else is opened, nor is anybody told whether it is there.
    """
    import folder_paths

    if name.endswith(EXAMPLE):
        return confined(examples, name.removesuffix(EXAMPLE))
    base = folder_paths.get_input_directory()
    for mark in ("output", "temp"):
        if name.endswith(f"[{mark}]"):
            base = getattr(folder_paths, f"get_{mark}_directory")()
    return confined(base, folder_paths.get_annotated_filepath(name))


def stamp(path: Path | None) -> str:
    """Changes whenever the file does; empty where there is none."""
    if path is None or not os.path.isfile(path):  # which never raises
        return ""
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}"


@contextmanager
def video_file(video) -> Iterator[Path]:
    """A VIDEO as a file: the one it was loaded from, or a temporary one where it is cut or held in memory."""
    from comfy_api.input_impl import VideoFromFile

    source = video.get_stream_source()
    cut = 0 < seconds(video) < seconds(VideoFromFile(source)) - 0.05
    if isinstance(source, str) and not cut:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        if cut:
            video.save_to(str(file))
        else:
            file.write_bytes(source.getbuffer())
        yield file


def seconds(video) -> float:
    """How long a VIDEO is; 0 where nothing tells (a damaged file is explained where it is read)."""
    try:
        return video.get_duration()
    except (ValueError, OSError, EOFError):
        return 0.0


def output_path(prefix: str, suffix: str) -> Path:
    """A new file's name in ComfyUI's output folder, counted on like its own; NAMELESS where the prefix gives none.

    Raises InputError where the prefix leads out of the folder, also by a link.
    """
    import folder_paths

    from ...magicdance_core.errors import InputError

    base = folder_paths.get_output_directory()
    prefix = prefix if os.path.basename(os.path.normpath(prefix)) != "." else NAMELESS
    if confined(base, prefix) is None:
        raise InputError("filename_prefix leads out of ComfyUI's output folder: give a name inside it.")
    try:
        folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, base)
    except OSError as error:
        raise InputError(f"filename_prefix cannot be used ({error.strerror}): give another one.") from error
    return Path(folder) / f"{name}_{counter:05}_{suffix}"
