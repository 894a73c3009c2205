"""A folder of numbered PNGs that is filled while frames are sampled, and in which a stopped run continues."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from filelock import FileLock, Timeout

from ..checks import printable
from ..errors import InputError
from ..files import atomic_write, read_json
from ..limits import MAX_FRAMES

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from PIL import Image
    from torch import Tensor

    from ..checkpoints import Components
    from .face_pass import RefinedFrames
    from .run import FrameChunk
    from .settings import SamplingSettings

    Chunk: TypeAlias = FrameChunk | RefinedFrames

SETTINGS = "settings.json"  # what the frames in a folder were made with
STATE = "state.safetensors"  # of a run in progress
METADATA = "magicdance_run"  # key in the state's metadata
LOCK = ".lock"
MAX_SHOWN = 200  # characters of a stored setting in a message
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"


class FrameFolder:
    """A folder of numbered frames, the settings they were made with, and the state of a run in progress.

    settings: all that decides the frames, as JSON can hold it. another: how to choose another folder, for messages.
    One process at a time may write to a folder. Raises InputError if it is no folder of frames, if its frames were made
    with other settings, or if another run is writing to it.
    """

    def __init__(self, path: Path, settings: dict, another: str = "choose another name"):
        self.path, self.settings, self._another = path, settings, another
        self._lock = FileLock(path / LOCK, timeout=0)

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
            if (self.path / LOCK).is_symlink():  # not all versions of filelock refuse to follow it
                raise OSError(errno.ELOOP, "it is a link")
            self._lock.acquire()
        except Timeout:
            raise InputError(f"Another run is writing to {self.path}: wait for it, or {self._another}.") from None
        except OSError as error:
            raise InputError(f"{self.path / LOCK} cannot be locked ({error.strerror}): remove it.") from error
        try:
            self._check_settings()
        except BaseException:
            self.__exit__()
            raise

    def _check_settings(self) -> None:
        from ..schema import differences

        file = self.path / SETTINGS
        if not file.exists():
            if any(entry.name != LOCK for entry in self.path.iterdir()):  # no run has written these frames
                raise InputError(f"{self.path} holds no {SETTINGS}, so it cannot be resumed: {self._another}.")
            return
        before = read_json(file, "the settings of a run")
        if not isinstance(before, dict):
            raise InputError(f"{file} holds no settings of a run: {self._another}.")
        if "contents" not in before:  # begun by an earlier version
            before["contents"] = self.settings.get("contents")
        changed = [
            f"other {key.rpartition('.')[2].replace('_', ' ')}"  # a digest says nothing
            if key.startswith(".contents.")
            else f"{_shown(key.lstrip('.'))} {_shown(old)}, not {_shown(new)}"
            for key, old, new in differences(before, self.settings)
        ]
        if changed:
            differing = "; ".join(changed)
            raise InputError(f"{self.path} was begun with {differing}: repeat that or {self._another}.")

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
            made: Any = stored.get("made")
            whole = type(made) is int and 0 < made <= MAX_FRAMES
            if not whole or stored != {"made": made, "checksum": _checksum(state, made, self.settings)}:
                raise InputError(f"{self.path / STATE} is damaged or of another run")
            if missing := self.missing(made):
                raise InputError(f"frame {missing[0]} in {self.path} is gone or incomplete")
        except InputError as error:
            logging.warning("%s: the run starts again at frame 0.", str(error).rstrip("."))
            return None, 0
        return state, made

    def fill(
        self,
        model: Components,
        settings: SamplingSettings,
        total: int,
        stream: Callable[..., Iterator[FrameChunk]],
        progress: Callable[[int], object],
    ) -> None:
        """Sample the frames that are missing: from the last state of the run, or where frames are independent, the
        batches with missing frames.

        total: number of frames. stream: called with the frame to end before, and `state` or `first` as
        `sampling.stream` takes them. progress: called with a number of frames that are there.
        """
        if model.motion is not None:
            state, made = self.state()
            progress(made)
            self.write(stream(total, state=state), progress, keep_state=has_state(model.scheduler, settings))
            return
        ranges = list(batches_to_make(self.missing(total), total, settings.frames_per_batch))
        progress(total - sum(end - first for first, end in ranges))
        for first, end in ranges:
            self.write(stream(end, first=first), progress, keep_state=False)

    def write(self, chunks: Iterator[Chunk], progress: Callable[[int], object], keep_state: bool) -> None:
        """Write the frames that are missing, and after each chunk the state of the run if `keep_state`.

        The settings are written with the first frame, so that a refused run leaves no folder behind.
        """
        from ..media import in_background, write_json, write_picture
        from .images import to_pil

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

        with in_background(store) as store_later:
            for chunk in chunks:
                if not self._lock.is_locked:
                    self._acquire()
                if not (self.path / SETTINGS).exists():
                    write_json(self.path / SETTINGS, self.settings)
                pictures = dict(zip(chunk.frames, to_pil(chunk.pictures)))
                store_later(pictures, chunk.state() if keep_state else None)
                progress(len(chunk.frames))

    def _file(self, number: int) -> Path:
        return self.path / f"{number:05d}.png"


def has_state(scheduler: SchedulerMixin, settings: SamplingSettings) -> bool:
    """Return whether the state of a run whose frames depend on each other can be stored, to continue after it."""
    from .steps import is_stateful

    return not (settings.quick or is_stateful(scheduler) or settings.shortcuts.pose_every > 1)


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


def _shown(value: object) -> str:
    return printable(str(value))[:MAX_SHOWN]


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
