"""Latents of fixed crops of every frame, encoded once and cached on the disk."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..checkpoints import weights_fingerprint
from ..errors import InputError
from ..models import vae_scale_factor
from ..sampling.vae import VAE_PIXELS
from .array_cache import ArrayCache
from .crops import Size, View, bucket_size, central_crop, random_colours, random_crop
from .data_config import DataConfig
from .frame_sets import FrameSet
from .samples import generator, load_ahead, uniform


def fixed_view(frames: FrameSet, config: DataConfig, seed: int, video: int, crop: int) -> View:
    """Return fixed crop number `crop` of a video: the central one if there is only one, and outside training."""
    about = frames.videos[video]
    size = frame_size(frames, config, video)
    if config.crops == 1 or about.split != "train":
        return View(central_crop(about.width, about.height, size))
    source = generator(seed, "crop", video, crop)
    box = random_crop(about.width, about.height, config.crop, source, size)
    return View(box, uniform(source) < config.flip, random_colours(config.colour, source))


def frame_size(frames: FrameSet, config: DataConfig, video: int) -> Size:
    """Return width and height to which training resizes the crops of a video."""
    about = frames.videos[video]
    return bucket_size(about.width, about.height, config.size, config.bucket)


class LatentCache:
    """Latents of all frames and crops of a data set, float16, not yet multiplied by the VAE's scaling factor."""

    def __init__(self, frames: FrameSet, config: DataConfig, seed: int, vae: AutoencoderKL, folder: Path):
        """folder: of caches."""
        self.frames, self.config, self.seed = frames, config, seed
        counts = [self._crops(number) * video.frames for number, video in enumerate(frames.videos)]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        factor = vae_scale_factor(vae)
        sizes = [frame_size(frames, config, number) for number in range(len(frames.videos))]
        self._shapes = [(height // factor, width // factor) for width, height in sizes]
        cells = max(height * width for height, width in self._shapes)
        views = (config.size, config.crop, config.crops, config.bucket, config.flip, config.colour)
        key = (frames.fingerprint, views, seed, weights_fingerprint(vae))
        shapes = {
            "latents": (np.float16, (int(self._starts[-1]), vae.config.latent_channels, cells)),
            "done": (np.uint8, (len(frames.videos),)),
        }
        self.cache = ArrayCache(folder, "latents", key, shapes)

    def read(self, video: int, frames: Iterable[int], crop: int) -> Tensor:
        """Return the latents of some frames, float32 `[n, 4, h, w]`; they must have been filled in.

        Raises InputError if they are not finite.
        """
        rows = [self._row(video, frame, crop) for frame in frames]
        height, width = self._shapes[video]
        cells = torch.from_numpy(self.cache.open()["latents"][rows]).float()[..., : height * width]
        latents = cells.unflatten(-1, (height, width))
        if not latents.isfinite().all():
            raise InputError(f"{self.cache.folder} has latents that are not finite: remove it, and it is made again.")
        return latents

    @torch.no_grad()
    def fill(
        self,
        vae: AutoencoderKL,
        device: torch.device,
        process: int = 0,
        processes: int = 1,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Encode what is missing of every n-th video; resumes where an earlier run was killed.

        One process must have made `cache` before. Pictures are read and drawn in `config.workers` processes while the
        VAE computes.
        progress: called with (parts done, parts in all).
        Raises InputError if the VAE returns values that are not finite.
        """
        latents, done = self.cache.open()["latents"], self.cache.open()["done"]
        missing = [v for v in range(process, len(self.frames.videos), processes) if not done[v]]
        parts = [part for video in missing for part in self._parts(video)]
        pictures = load_ahead(self.pictures, parts, self.config.workers)
        for number, ((video, first, last), crops) in enumerate(zip(parts, pictures)):
            for crop, images in enumerate(crops):
                images = images.to(device).permute(0, 3, 1, 2).to(vae.dtype) / 127.5 - 1
                encoded = vae.encode(images).latent_dist.mode().float().cpu()
                if not encoded.isfinite().all():
                    raise InputError(
                        f"The VAE returns values that are not finite for {self.frames.videos[video].name}: "
                        "look at its pictures, and let frozen be float32 or bfloat16."
                    )
                row = self._row(video, first, crop)
                cells = encoded.flatten(2).half().numpy()
                latents[row : row + len(cells), :, : cells.shape[-1]] = cells
            if last == self.frames.videos[video].frames:
                done[video] = 1
            progress(number + 1, len(parts))

    def pictures(self, part: tuple[int, int, int]) -> Tensor:
        """Return the crops of frames (video, first, last), uint8 `[crops, frames, H, W, 3]`."""
        video, first, last = part
        size = frame_size(self.frames, self.config, video)
        views = [fixed_view(self.frames, self.config, self.seed, video, crop) for crop in range(self._crops(video))]
        rows = []
        for frame in range(first, last):
            image = self.frames.read(video, frame).image
            both = image, np.ascontiguousarray(image[:, ::-1])
            rows.append([view.picture(both[view.mirrored], size) for view in views])
        return torch.from_numpy(np.array(rows)).transpose(0, 1)

    def _parts(self, video: int) -> list[tuple[int, int, int]]:
        """Return (video, first, last) of as many frames as go through the VAE at once."""
        chunk, frames = max(1, VAE_PIXELS // self.config.size**2), self.frames.videos[video].frames
        return [(video, first, min(first + chunk, frames)) for first in range(0, frames, chunk)]

    def _crops(self, video: int) -> int:
        return self.config.crops if self.frames.videos[video].split == "train" else 1

    def _row(self, video: int, frame: int, crop: int) -> int:
        return int(self._starts[video]) + crop * self.frames.videos[video].frames + frame
