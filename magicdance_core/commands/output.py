"""Where `animate` writes its frames: one file, or a folder of numbered PNGs in which a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ..errors import InputError
from ..files import check_target

if TYPE_CHECKING:
    from ..sampling import FrameChunk
    from ..sampling.face_pass import RefinedFrames

    Chunk: TypeAlias = FrameChunk | RefinedFrames

ANOTHER = "give --out another name"
RESUME_HINT = "Interrupted; the same command with --resume makes the other frames."


def write_file(out: Path, fps: float, chunks: Iterable[Chunk], progress: Callable[[int], object]) -> None:
    """Write frames as an animation or a video, while the next ones are made. progress: called with their number."""
    from ..media import in_background, write_animation
    from ..sampling import to_pil

    with write_animation(out, fps) as add, in_background(add) as add_later:
        for chunk in chunks:
            for picture in to_pil(chunk.pictures):
                add_later(picture)
            progress(len(chunk.frames))


def check_folder(path: Path, resume: bool) -> None:
    """Raise InputError if frames cannot be written to the folder, before anything is computed."""
    from ..sampling.frame_folder import LOCK, SETTINGS

    check_target(path / SETTINGS)
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        if not resume:
            raise InputError(f"{path} is not empty: add --resume to continue it, or {ANOTHER}.")
        if not (path / SETTINGS).is_file():
            raise InputError(f"{path} holds no {SETTINGS}, so it cannot be resumed: {ANOTHER}.")
