"""ComfyUI's input and output folders, and its videos as files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLE = " [example]"  # after the name of a file that comes with the pack, as ComfyUI writes [input] and [output]


def input_files(suffixes: tuple[str, ...], examples: Path) -> list[str]:
    """The files with one of the suffixes: of ComfyUI's input folder, then the pack's examples, marked as such."""
    import folder_paths

    base = Path(folder_paths.get_input_directory())
    files = sorted(file.relative_to(base).as_posix() for file in base.rglob("*") if file.suffix.lower() in suffixes)
    return files + sorted(file.name + EXAMPLE for file in examples.glob("*") if file.suffix in suffixes)


def input_path(name: str, examples: Path) -> Path:
    """Where a name of `input_files` is on the disk."""
    import folder_paths

    if name.endswith(EXAMPLE):
        return examples / Path(name.removesuffix(EXAMPLE)).name
    return Path(folder_paths.get_annotated_filepath(name))


def stamp(path: Path) -> str:
    """Changes whenever the file does; empty where there is none."""
    return f"{path.stat().st_mtime_ns} {path.stat().st_size}" if path.is_file() else ""


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
    """A new file's name in ComfyUI's output folder, counted on like its own."""
    import folder_paths

    folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{name}_{counter:05}_{suffix}"
