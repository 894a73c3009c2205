"""Files in ComfyUI's input and output folders, and VIDEOs as files."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .folders import confined

EXAMPLE = " [example]"  # marks the names of files that come with the pack, like ComfyUI's [input] and [output]
DEFAULT_NAME = "MagicDance"


def input_files(suffixes: tuple[str, ...], examples: Path) -> list[str]:
    """List the files with these suffixes: those in ComfyUI's input folder, then the pack's examples."""
    import folder_paths

    base = Path(folder_paths.get_input_directory())
    found = (file.relative_to(base) for file in base.rglob("*") if file.suffix.lower() in suffixes)
    files = sorted(name.as_posix() for name in found if confined(base, str(name)))
    return files + sorted(file.name + EXAMPLE for file in examples.glob("*") if file.suffix in suffixes)


def input_path(name: str, examples: Path) -> Path | None:
    """Return the path of a name from `input_files`; ComfyUI's marks [output] and [temp] select those folders.

    Returns None if the path leads out of its folder, whether or not there is a file.
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
    """Return a text that changes whenever the file does; empty if there is none."""
    if path is None or not os.path.isfile(path):  # unlike Path.is_file, never raises
        return ""
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}"


@contextmanager
def video_file(video) -> Iterator[Path]:
    """Yield a VIDEO's file: the one it was loaded from, or a temporary one if it is trimmed or in memory."""
    from comfy_api.input_impl import VideoFromFile

    source = video.get_stream_source()
    trimmed = 0 < seconds(video) < seconds(VideoFromFile(source)) - 0.05
    if isinstance(source, str) and not trimmed:
        yield Path(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "video.mp4"
        if trimmed:
            video.save_to(str(file))
        else:
            file.write_bytes(source.getbuffer())
        yield file


def seconds(video) -> float:
    """Return the duration of a VIDEO; 0 if it is unknown (reading a damaged file reports it)."""
    try:
        return video.get_duration()
    except (ValueError, OSError, EOFError):
        return 0.0


def output_path(prefix: str, suffix: str) -> Path:
    """Return the path of a new file in ComfyUI's output folder, numbered like ComfyUI's own.

    A prefix without a name gets `DEFAULT_NAME`. Raises InputError if the prefix, or a link, leads out of the folder.
    """
    import folder_paths

    from ...magicdance_core.errors import InputError

    base = folder_paths.get_output_directory()
    prefix = prefix if os.path.basename(os.path.normpath(prefix)) != "." else DEFAULT_NAME
    if confined(base, prefix) is None:
        raise InputError("`filename_prefix` leads out of ComfyUI's output folder: give a name inside it.")
    try:
        folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, base)
    except OSError as error:
        raise InputError(f"`filename_prefix` cannot be used ({error.strerror}): give another one.") from error
    return Path(folder) / f"{name}_{counter:05}_{suffix}"


def output_folder(name: str) -> Path:
    """Return the path of a folder in ComfyUI's output folder. Raises InputError if a link leads out of it."""
    import folder_paths

    from ...magicdance_core.errors import InputError

    base = folder_paths.get_output_directory()
    if (folder := confined(base, name)) is None:
        raise InputError(f"{name} in ComfyUI's output folder is a link that leads out of it: remove it.")
    return folder


def output_subfolder(path: Path) -> str:
    """Return where a file lies in ComfyUI's output folder, as its page asks for it; empty in the folder itself."""
    import folder_paths

    return "/".join(path.parent.relative_to(folder_paths.get_output_directory()).parts)
