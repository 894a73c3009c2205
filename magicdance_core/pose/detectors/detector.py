"""The interface of a pose detector, and the detectors by name."""

from pathlib import Path
from typing import Protocol

import numpy as np

from ...choices import DETECTORS
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


def detector_file(name: str) -> str | None:
    """A file that stands in the folder of a detector's files; None where it needs none."""
    if name == "openpose":
        from .openpose import FILES

        return FILES["body"]
    if name == "dwpose":
        from .dwpose import BOX_FILE

        return BOX_FILE
    return None


def make_detector(name: str, folder: str | Path, device: str = "cpu") -> Detector:
    """A detector: "openpose" (controlnet-aux's networks), "dwpose" (onnxruntime) or "drawn" (reads pose maps).

    folder: where the files of the first two are. Raises InputError where one is missing, or for another name.
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
    raise InputError(f"There is no detector {name!r}; choose one of {', '.join(DETECTORS)}.")
