"""What a detector is, and where its files come from."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import InputError
from ..keypoints import Person


class Detector(Protocol):
    """Finds people in a picture."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """The people in a picture: uint8 [H, W, 3], RGB. Coordinates are in its pixels. Nobody is an empty tuple."""


def required_file(folder: str | Path, name: str, source: str) -> Path:
    """The file in the folder. InputError that says where it is usually had where it is not there."""
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(f"{name} is not in {folder}; get it from {source} and put it there.")
    return path
