"""Sampling: from a reference, hints and noise to frames; free functions."""

from ..schedule import published_scheduler
from .banks import Banks, Person
from .decoding import decode_frames
from .denoise import denoise
from .guidance import guide
from .images import to_images, to_pil
from .latents import encode_images, encode_poses, get_noise
from .noise import FrameNoise
from .presets import PRESETS, Preset
from .run import Bunch, Phase, Place, Sample, run, stream
from .settings import Control, Progress, Shortcuts
from .windows import Windows

__all__ = [
    "Banks",
    "Bunch",
    "PRESETS",
    "Control",
    "FrameNoise",
    "Person",
    "Phase",
    "Place",
    "Preset",
    "Progress",
    "Sample",
    "Shortcuts",
    "Windows",
    "decode_frames",
    "denoise",
    "encode_images",
    "encode_poses",
    "get_noise",
    "guide",
    "published_scheduler",
    "run",
    "stream",
    "to_images",
    "to_pil",
]
