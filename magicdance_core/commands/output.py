"""Where `animate` writes its frames: one file, or a folder of numbered PNGs in which a killed run can be resumed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from filelock import FileLock, Timeout

from ..errors import InputError
from ..files import atomic_write, check_target, read_json

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..sampling import FrameChunk
    from ..sampling.face_pass import RefinedFrames

    Chunk: TypeAlias = FrameChunk | RefinedFrames

SETTINGS = "settings.json"  # what the frames in a folder were made with
STATE = "state.safetensors"  # of a run in progress
METADATA = "magicdance_run"  # key in the state's metadata
LOCK = ".lock"
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
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


class FrameFolder:
    """A folder of numbered frames, the settings they were made with, and the state of a run in progress.

    settings: all that decides the frames, as JSON can hold it. One process at a time may write to a folder.
    Raises InputError if the folder is not empty and `resume` is not set, if it is no folder of `animate`, if its frames
    were made with other settings, or if another run is writing to it.
    """

    def __init__(self, path: Path, settings: dict):
        self.path, self.settings = path, settings
        self._lock = FileLock(path / LOCK, timeout=0)

    @staticmethod
    def check(path: Path, resume: bool) -> None:
        """Raise InputError if frames cannot be written to the folder, before anything is computed."""
        check_target(path / SETTINGS)
        if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
            if not resume:
                raise InputError(f"{path} is not empty: add --resume to continue it, or give --out another name.")
            if not (path / SETTINGS).is_file():
                raise InputError(f"{path} holds no {SETTINGS}, so it cannot be resumed: give --out another name.")

    def __enter__(self) -> FrameFolder:
        if self.path.is_dir():  # a refused run creates no folder
            self._acquire()
        return self

    def __exit__(self, *exception) -> None:
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # Windows removes no open file
                (self.path / LOCK).unlink(missing_ok=True)
            self._lock.release()

    def _acquire(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"Another run is writing to {self.path}: wait for it, or give --out another name."
            ) from None
        self._check_settings()

    def _check_settings(self) -> None:
        from ..schema import differences

        file = self.path / SETTINGS
        if not file.exists():
            return
        before = read_json(file, "what animate wrote")
        if not isinstance(before, dict):
            raise InputError(f"{file} holds no settings of animate: give --out another name.")
        changed = [f"{key.lstrip('.')} {old}, not {new}" for key, old, new in differences(before, self.settings)]
        if changed:
            differing = "; ".join(changed)
            raise InputError(f"{self.path} was begun with {differing}: repeat that or give --out another name.")

    def missing(self, total: int) -> list[int]:
        """Return the numbers of the frames, of `total`, that are absent or incomplete."""
        return [number for number in range(total) if not is_complete_png(self._file(number))]

    def state(self) -> tuple[dict[str, Tensor] | None, int]:
        """Return the state of the run and how many frames it has made; None and 0 if there is no usable one.

        A warning says why a state cannot be used: it is damaged or of another run, or a frame that it has made is gone.
        """
        from ..checkpoints.tensors import TensorFile, metadata

        if not (self.path / STATE).is_file():
            return None, 0
        try:
            file = TensorFile(self.path / STATE)
            state, stored = {name: tensor.clone() for name, tensor in file.read(file.shapes)}, metadata(file, METADATA)
            if stored != {"made": stored.get("made"), "checksum": _checksum(state, stored.get("made"), self.settings)}:
                raise InputError(f"{self.path / STATE} is damaged or of another run")
            if missing := self.missing(stored["made"]):
                raise InputError(f"frame {missing[0]} in {self.path} is gone or incomplete")
        except InputError as error:
            logging.warning("%s: the run starts again at frame 0.", str(error).rstrip("."))
            return None, 0
        return state, stored["made"]

    def write(self, chunks: Iterator[Chunk], progress: Callable[[int], object], keep_state: bool) -> None:
        """Write the frames that are missing, and after each chunk the state of the run if `keep_state`.

        The settings are written with the first frame, so that a refused run leaves no folder behind.
        """
        from ..media import in_background, write_json, write_picture
        from ..sampling import to_pil

        def store(pictures: dict[int, Image.Image], state: dict[str, Tensor] | None) -> None:
            from ..checkpoints.tensors import write_tensors

            for number, picture in pictures.items():
                if not is_complete_png(self._file(number)):
                    write_picture(self._file(number), picture)
            if state is not None:
                made = max(pictures) + 1
                stored = {"made": made, "checksum": _checksum(state, made, self.settings)}
                with atomic_write(self.path / STATE) as part:
                    write_tensors(part, state, {METADATA: json.dumps(stored)})

        try:
            with in_background(store) as store_later:
                for chunk in chunks:
                    if not self._lock.is_locked:
                        self._acquire()
                    if not (self.path / SETTINGS).exists():
                        write_json(self.path / SETTINGS, self.settings)
                    pictures = dict(zip(chunk.frames, to_pil(chunk.pictures)))
                    store_later(pictures, chunk.state() if keep_state else None)
                    progress(len(chunk.frames))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(RESUME_HINT) from None

    def _file(self, number: int) -> Path:
        return self.path / f"{number:05d}.png"


def is_complete_png(path: Path) -> bool:
    """Return whether a regular file begins and ends as a PNG does; a killed or full machine may have cut it short."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            begins = file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE
            file.seek(-len(PNG_END), os.SEEK_END)
            return begins and file.read() == PNG_END
    except OSError:
        return False


def _checksum(state: dict[str, Tensor], made: object, settings: dict) -> str:
    digest = hashlib.sha256(json.dumps([made, settings], sort_keys=True).encode())
    for name in sorted(state):
        digest.update(f"{name} {list(state[name].shape)} {state[name].dtype}".encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def batches_to_make(missing: list[int], total: int, batch: int) -> Iterator[tuple[int, int]]:
    """Yield ranges (first, last + 1) of whole batches, joined where they touch, that contain the missing frames.

    Whole batches, so that a frame has the same bits whether or not the run was interrupted.
    """
    first = end = 0
    for start in sorted({number // batch * batch for number in missing}):
        if start != end and end:
            yield first, end
        if start != end or not end:
            first = start
        end = min(start + batch, total)
    if end:
        yield first, end
