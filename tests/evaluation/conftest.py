"""Small videos as folders of frames."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magicdance_core.media import write_picture


def moving_square(frames: int, seed: int = 0, noise: int = 0, size: tuple[int, int] = (24, 16)) -> list[np.ndarray]:
    """Pictures uint8 of a bright square that wanders over a still ground; noise in levels of 255."""
    generator, pictures = np.random.default_rng(seed), []
    ground = np.random.default_rng(100 + seed).integers(40, 120, (size[1], size[0], 3))
    for frame in range(frames):
        picture = ground.copy()
        left = 2 + (3 * frame + seed) % (size[0] - 8)
        picture[4:10, left : left + 6] = 220
        picture = picture + generator.integers(-noise, noise + 1, picture.shape)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


@pytest.fixture(scope="session")
def square():
    return moving_square


@pytest.fixture(scope="session")
def write_videos():
    """Writes a folder of videos: `write_videos(folder, {name: pictures})`."""

    def write(folder: Path, videos: dict) -> Path:
        for name, pictures in videos.items():
            for number, picture in enumerate(pictures):
                write_picture(folder / name / f"{number:04d}.png", Image.fromarray(picture))
        return folder

    return write
