"""The interface of a pose detector, and the detectors by name."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ...choices import DETECTORS
from ...errors import InputError
from ..keypoints import Person


class Detector(Protocol):
    """Finds the keypoints of people in a picture."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """Return the people in a picture, uint8 [H, W, 3] RGB, in its pixel coordinates; empty if there is nobody."""


def required_file(folder: str | Path, name: str, source: str) -> Path:
    """Return the path of a file in a folder. Raises InputError with the download address if it is missing."""
    path = Path(folder) / name
    if not path.is_file():
        raise InputError(f"{name} is not in {folder}: download it from {source} and put it there.")
    return path


def detector_file(name: str) -> str | None:
    """Return the name of a file by which a detector's folder is recognised; None if the detector needs no files."""
    if name == "openpose":
        from .openpose import FILES

        return FILES["body"]
    if name == "dwpose":
        from .dwpose import BOX_FILE

        return BOX_FILE
    return None


def make_detector(name: str, folder: str | Path, device: str = "cpu") -> Detector:
    """Return a detector: "openpose" (controlnet-aux's networks), "dwpose" (onnxruntime) or "drawn" (reads pose maps).

    folder: where the files of the first two are. Raises InputError if one is missing or the name is unknown.
    """
    if name == "openpose":
        from .openpose import OpenPoseDetector

        return OpenPoseDetector.from_folder(folder, device=device)
    if name == "dwpose":
        from .dwpose import DWPoseDetector

        return DWPoseDetector.from_folder(folder)
    if name == "drawn":
        from .drawn_map import DrawnMapDetector

        return DrawnMapDetector()
    raise InputError(f"The detector {name!r} is unknown: choose one of {', '.join(DETECTORS)}.")
