"""The captions of a data set, encoded once by Stable Diffusion's text encoder and cached on the disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .array_cache import ArrayCache
from .frame_sets import FrameSet

Encoder = Callable[[str], Tensor]


class Captions:
    """The encoded caption of each video, `[77, C]` float32; the empty prompt for a video without a caption.

    Raises InputError if no video has a caption.
    """

    def __init__(self, frames: FrameSet, encoder_fingerprint: str, empty: Tensor, folder: Path):
        """encoder_fingerprint: changes with the encoder. empty: the encoded empty prompt `[1, 77, C]`. folder: of
        caches."""
        texts = sorted({video.caption for video in frames.videos} - {""})
        if not texts:
            raise InputError("data.captions is true, and no video has a caption: write NAME.txt beside each NAME.mp4.")
        rows = {text: row for row, text in enumerate(texts)}
        self._rows = [rows.get(video.caption) for video in frames.videos]
        self.texts, self.empty = texts, empty
        shapes = {"embeddings": (np.float32, (len(texts), *empty.shape[1:])), "done": (np.uint8, (len(texts),))}
        self.cache = ArrayCache(folder, "captions", (texts, encoder_fingerprint), shapes)

    def fill(self, encode: Encoder, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Encode the captions that are not cached yet; in one process only.

        encode: returns the embeddings of a text, `[1, 77, C]`. Raises InputError if they are not finite.
        """
        arrays = self.cache.open()
        for row, text in enumerate(self.texts):
            if not arrays["done"][row]:
                encoded = encode(text)
                if not encoded.isfinite().all():
                    raise InputError("The text encoder returns values that are not finite: take another start.model.")
                arrays["embeddings"][row] = encoded[0].cpu().numpy()
                arrays["done"][row] = 1
            progress(row + 1, len(self.texts))

    def read(self, video: int) -> Tensor:
        """Return the encoded caption of a video."""
        row = self._rows[video]
        if row is None:
            return self.empty[0]
        encoded = torch.from_numpy(np.array(self.cache.open()["embeddings"][row]))
        if not encoded.isfinite().all():
            raise InputError(f"{self.cache.folder} has captions that are not finite: remove it, and it is made again.")
        return encoded
