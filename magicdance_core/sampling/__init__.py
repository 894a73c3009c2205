"""Sampling: from a reference, hints and noise to frames; free functions."""

from ..schedule import published_scheduler
from .denoise import denoise
from .guidance import guide
from .images import to_images, to_pil
from .latents import decode_frames, encode_images, encode_poses, get_noise, vae_factor
from .run import Phase, Place, Sample, run
from .settings import Control, Progress

__all__ = [
    "Control",
    "Phase",
    "Place",
    "Progress",
    "Sample",
    "decode_frames",
    "denoise",
    "encode_images",
    "encode_poses",
    "get_noise",
    "guide",
    "published_scheduler",
    "run",
    "to_images",
    "to_pil",
    "vae_factor",
]
