"""Where `animate` writes its frames: one file, or a folder of numbered PNGs in which a killed run can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..files import atomic_write, check_target, read_json
from ..schema import differences

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from ..sampling import FrameChunk

SETTINGS = "settings.json"  # what the frames in a folder were made with
STATE = "state.safetensors"  # of a run in progress
RESUME_HINT = "Interrupted; the same command with --resume makes the other frames."


def write_file(out: Path, fps: float, chunks: Iterable[FrameChunk], progress: Callable[[int], object]) -> None:
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

    Raises InputError if the folder is not empty and `resume` is not set, or if it is no folder of `animate`.
    """

    def __init__(self, path: Path, resume: bool):
        check_target(path / SETTINGS)
        if path.is_dir() and any(path.iterdir()):
            if not resume:
                raise InputError(f"{path} is not empty: add --resume to continue it, or give --out another name.")
            if not (path / SETTINGS).is_file():
                raise InputError(f"{path} holds no {SETTINGS}, so it cannot be resumed: give --out another name.")
        self.path = path

    def check_settings(self, settings: dict) -> None:
        """Raise InputError that names what differs if the folder's frames were made with other settings."""
        file = self.path / SETTINGS
        if not file.exists():
            return
        before = read_json(file, "what animate wrote")
        if not isinstance(before, dict):
            raise InputError(f"{file} holds no settings of animate: give --out another name.")
        changed = [f"{key.lstrip('.')} {old}, not {new}" for key, old, new in differences(before, settings)]
        if changed:
            raise InputError(
                f"{self.path} was begun with {'; '.join(changed)}: repeat that or give --out another name."
            )

    def missing(self, total: int) -> list[int]:
        """Return the numbers of the frames, of `total`, that are not there."""
        return [number for number in range(total) if not self._file(number).is_file()]

    def state(self) -> dict[str, Tensor] | None:
        """Return the state of the run; None if there is none, or if a frame that it has made is missing."""
        from ..checkpoints.tensors import TensorFile

        if not (self.path / STATE).is_file():
            return None
        file = TensorFile(self.path / STATE)
        if not {"done", "frame", "step", "weight", "decoded", "clean_frame"} <= file.shapes.keys():
            return None
        state = {name: tensor.clone() for name, tensor in file.read(file.shapes)}
        return None if self.missing(int(state["decoded"])) else state

    def write(
        self, chunks: Iterator[FrameChunk], settings: dict, progress: Callable[[int], object], keep_state: bool
    ) -> None:
        """Write the frames that are missing, and after each chunk the state of the run if `keep_state`.

        The settings are written with the first frame, so that a refused run leaves no folder behind.
        """
        from ..media import in_background, write_json, write_picture
        from ..sampling import to_pil

        def store(pictures: dict[int, Image.Image], state: dict[str, Tensor] | None) -> None:
            from ..checkpoints.tensors import write_tensors

            for number, picture in pictures.items():
                if not self._file(number).is_file():
                    write_picture(self._file(number), picture)
            if state is not None:
                with atomic_write(self.path / STATE) as part:
                    write_tensors(part, state)

        try:
            with in_background(store) as store_later:
                for chunk in chunks:
                    if not (self.path / SETTINGS).exists():
                        write_json(self.path / SETTINGS, settings)
                    pictures = dict(zip(chunk.frames, to_pil(chunk.pictures)))
                    store_later(pictures, chunk.state() if keep_state else None)
                    progress(len(chunk.frames))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(RESUME_HINT) from None

    def _file(self, number: int) -> Path:
        return self.path / f"{number:05d}.png"


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
