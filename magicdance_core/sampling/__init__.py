"""Sampling: from a reference, pose maps and noise to frames."""

from ..schedule import published_scheduler
from .background import Background
from .denoise import DenoisingInputs, Progress, denoise
from .guidance import guide
from .hints import Hints, encode_poses
from .images import to_images, to_pil
from .noise import FrameNoise, get_noise, make_noise, noise_from_latents
from .reference import EncodedReference
from .regions import EncodedRegions, Region, with_poses
from .run import FrameChunk, Phase, Placement, RunInputs, Sample, prepare, run, stream
from .settings import PRESETS, Control, Preset, SamplingSettings, Shortcuts
from .vae import decode_frames, encode_images
from .windows import Windows

__all__ = [
    "PRESETS",
    "Background",
    "Control",
    "DenoisingInputs",
    "EncodedReference",
    "EncodedRegions",
    "FrameChunk",
    "FrameNoise",
    "Hints",
    "Phase",
    "Placement",
    "Preset",
    "Progress",
    "Region",
    "RunInputs",
    "Sample",
    "SamplingSettings",
    "Shortcuts",
    "Windows",
    "decode_frames",
    "denoise",
    "encode_images",
    "encode_poses",
    "get_noise",
    "guide",
    "make_noise",
    "noise_from_latents",
    "prepare",
    "published_scheduler",
    "run",
    "stream",
    "to_images",
    "to_pil",
    "with_poses",
]
