"""The captions of a data set, encoded once by Stable Diffusion's text tower and kept on the disk."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..files import atomic_write
from .frame_sets import FrameSet

Encoder = Callable[[str], Tensor]


class Captions:
    """The context of each video's caption, `[77, C]` float32; the empty prompt for a video without one.

    Raises InputError where no video has a caption.
    """

    def __init__(self, frames: FrameSet, mark: str, empty: Tensor, cache: Path):
        """mark: changes with the encoder. empty: the encoded empty prompt `[1, 77, C]`. cache: where they are kept."""
        texts = sorted({video.caption for video in frames.videos} - {""})
        if not texts:
            raise InputError("data.captions is true, and no video has a caption: write NAME.txt beside each NAME.mp4.")
        self.texts, self.empty = texts, empty
        places = {text: place for place, text in enumerate(texts)}
        self._rows = [places.get(video.caption) for video in frames.videos]
        name = hashlib.blake2b(repr((texts, mark)).encode(), digest_size=8).hexdigest()
        self.path = cache / f"captions-{name}.npy"
        self._array: np.ndarray | None = None

    def make(self, encode: Encoder, progress: Callable[[int, int], None] = lambda done, of: None) -> None:
        """Encode them where an earlier run has not; by one process. encode: a text's context `[1, 77, C]`."""
        if self.path.exists():
            return
        shape = (len(self.texts), *self.empty.shape[1:])
        with atomic_write(self.path, 4 * int(np.prod(shape))) as part, part.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for number, text in enumerate(self.texts):
                encoded = encode(text)
                if not encoded.isfinite().all():
                    raise InputError("The text tower gives values that are not finite: take another start.model.")
                file.write(encoded.cpu().numpy().astype("<f4").tobytes())
                progress(number + 1, len(self.texts))

    def read(self, video: int) -> Tensor:
        row = self._rows[video]
        if row is None:
            return self.empty[0]
        if self._array is None:
            try:
                self._array = np.load(self.path, mmap_mode="r")
            except (OSError, ValueError) as error:
                raise InputError(f"{self.path} is damaged ({error}): remove it, it is made again.") from error
        return torch.from_numpy(np.array(self._array[row]))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_array": None}
