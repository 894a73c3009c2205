"""Latents of fixed crops of every frame, encoded once and kept on the disk."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..checkpoints import weights_fingerprint
from ..errors import InputError
from ..files import atomic_folder
from ..models import vae_scale_factor
from ..sampling.latents import VAE_PIXELS
from .crops import Window, central_window, crop_picture, random_window
from .data_config import DataConfig
from .frame_sets import FrameSet
from .samples import ahead, generator


def window_of(frames: FrameSet, config: DataConfig, seed: int, video: int, crop: int) -> Window:
    """The fixed crop number `crop` of a video: number 0 is the central one where there is only one, and outside
    training."""
    of = frames.videos[video]
    if config.crops == 1 or of.split != "train":
        return central_window(of.width, of.height)
    return random_window(of.width, of.height, config.crop, generator(seed, "crop", video, crop))


class LatentCache:
    """Latents of all frames and crops of a set; not yet multiplied by the VAE's scaling factor.

    Its folder's name tells the VAE's weights, the pictures and the crops, so that no other's are ever taken.
    """

    def __init__(self, frames: FrameSet, config: DataConfig, seed: int, vae: AutoencoderKL, cache: Path):
        self.frames, self.config, self.seed = frames, config, seed
        settings = (frames.fingerprint, config.size, config.crop, config.crops, seed, weights_fingerprint(vae))
        name = hashlib.blake2b(repr(settings).encode(), digest_size=8).hexdigest()
        self.folder = cache / f"latents-{name}"
        side = config.size // vae_scale_factor(vae)
        counts = [self._crops(number) * video.frames for number, video in enumerate(frames.videos)]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self.shape = (int(self.starts[-1]), vae.config.latent_channels, side, side)
        self._arrays: tuple[np.ndarray, np.ndarray] | None = None

    def read(self, video: int, frames: Iterable[int], crop: int) -> Tensor:
        """float32 `[n, 4, h, w]`; `fill` must have been there."""
        return torch.from_numpy(self._open()[0][[self._row(video, frame, crop) for frame in frames]]).float()

    def make(self) -> None:
        """Make the empty files; by one process, before the others fill them."""
        if self.folder.exists():
            return
        with atomic_folder(self.folder, 2 * int(np.prod(self.shape, dtype=np.int64))) as part:
            np.lib.format.open_memmap(part / "latents.npy", "w+", np.float16, self.shape)
            np.lib.format.open_memmap(part / "done.npy", "w+", np.uint8, (len(self.frames.videos),))

    @torch.no_grad()
    def fill(
        self,
        vae: AutoencoderKL,
        device: torch.device,
        process: int = 0,
        processes: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Encode what is missing of every n-th video; goes on where an earlier run was killed.

        Pictures are read and drawn in `workers` processes while the VAE computes. progress gets (videos done, of).
        """
        latents, done = self._open()
        missing = [v for v in range(process, len(self.frames.videos), processes) if not done[v]]
        parts = [part for video in missing for part in self._parts(video)]
        pictures = ahead(self.pictures, parts, self.config.workers)
        for number, ((video, first, last), images) in enumerate(zip(parts, pictures)):
            for crop, part in enumerate(images):
                unit = part.to(device).permute(0, 3, 1, 2).to(vae.dtype) / 127.5 - 1
                encoded = vae.encode(unit).latent_dist.mode().float().cpu()
                if not encoded.isfinite().all():
                    raise InputError(
                        f"The VAE gives values that are not finite for {self.frames.videos[video].name}: "
                        "look at its pictures, and let frozen be float32 or bfloat16."
                    )
                row = self._row(video, first, crop)
                latents[row : row + len(part)] = encoded.half().numpy()
            if last == self.frames.videos[video].frames:
                done[video] = 1
            if progress:
                progress(number + 1, len(parts))

    def pictures(self, part: tuple[int, int, int]) -> Tensor:
        """The crops of frames (video, first, last), uint8 `[crops, frames, size, size, 3]`."""
        video, first, last = part
        windows = [window_of(self.frames, self.config, self.seed, video, crop) for crop in range(self._crops(video))]
        rows = []
        for frame in range(first, last):
            image = self.frames.read(video, frame).image
            rows.append([crop_picture(image, window, self.config.size) for window in windows])
        return torch.from_numpy(np.array(rows)).transpose(0, 1)

    def _parts(self, video: int) -> list[tuple[int, int, int]]:
        """(video, first, last) of as many frames as go through the VAE at once."""
        chunk, frames = max(1, VAE_PIXELS // self.config.size**2), self.frames.videos[video].frames
        return [(video, first, min(first + chunk, frames)) for first in range(0, frames, chunk)]

    def _crops(self, video: int) -> int:
        return self.config.crops if self.frames.videos[video].split == "train" else 1

    def _row(self, video: int, frame: int, crop: int) -> int:
        return int(self.starts[video]) + crop * self.frames.videos[video].frames + frame

    def _open(self) -> tuple[np.ndarray, np.ndarray]:
        if self._arrays is None:
            try:
                arrays = [np.load(self.folder / name, mmap_mode="r+") for name in ("latents.npy", "done.npy")]
                if arrays[0].shape != self.shape or len(arrays[1]) != len(self.frames.videos):
                    raise ValueError("other sizes")
            except (OSError, ValueError) as error:
                raise InputError(f"{self.folder} is damaged ({error}): remove it, it is made again.") from error
            self._arrays = arrays[0], arrays[1]
        return self._arrays

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_arrays": None}
