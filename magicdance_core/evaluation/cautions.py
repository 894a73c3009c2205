"""What should make a reader of a table careful."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from .study import Study

FEW_VIDEOS = 5


def cautions(study: Study) -> list[str]:
    """A sentence for each."""
    warnings = []
    first = next(iter(study.scores.values()))
    sizes = sorted({size for video in first for size in zip(video["width"].astype(int), video["height"].astype(int))})
    if len(sizes) > 1:
        listed = ", ".join(f"{width} x {height}" for width, height in sizes)
        warnings.append(f"The truth has several resolutions ({listed}): L1 as published compares only within one.")
    for method, scores in study.scores.items():
        if resized := int(sum(video["resized"].sum() for video in scores)):
            warnings.append(f"{resized} frames of {method} had another size than the truth and were resized.")
    if suspect := _looks_reconstructed(study.truth, study.videos):
        warnings.append(suspect)
    if 1 < len(study.videos) < FEW_VIDEOS:
        warnings.append(f"Intervals from {len(study.videos)} videos are rough: take them for the least that is unsure.")
    return warnings


def _looks_reconstructed(truth: Path, videos: Mapping[str, Path]) -> str | None:
    """The published test script's gt_images are no true frames: its VAE's reconstructions, as JPEG of 512 x 512."""
    for path in (truth.absolute(), *videos.values()):
        if "gt_images" in path.parts:
            return (
                f"{path} looks like the output of the published test script: reconstructions by the VAE, which flatter "
                "every method that shares it. Compare with the real frames."
            )
    folder = next((path for path in videos.values() if path.is_dir()), None)
    pictures = sorted(folder.iterdir())[:1] if folder else []
    if pictures and pictures[0].suffix.lower() in (".jpg", ".jpeg"):
        with Image.open(pictures[0]) as picture:
            if picture.size == (512, 512):
                return (
                    "The truth is JPEG of 512 x 512, as the published test script writes its VAE's reconstructions; "
                    "if it is that, every method that shares the VAE is flattered."
                )
    return None
