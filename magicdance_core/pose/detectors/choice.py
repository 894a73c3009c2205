"""The detectors by name."""

from pathlib import Path

from ...choices import DETECTORS
from ...errors import InputError
from .base import Detector


def file_of(name: str) -> str | None:
    """A file that stands in the folder of a detector's files; None where it needs none."""
    if name == "openpose":
        from .openpose_networks import FILES

        return FILES["body"]
    if name == "dwpose":
        from .dwpose_onnx import BOX_FILE

        return BOX_FILE
    return None


def make_detector(name: str, folder: str | Path, device: str = "cpu") -> Detector:
    """A detector: "openpose" (controlnet-aux's networks), "dwpose" (onnxruntime) or "drawn" (reads pose maps).

    folder: where the files of the first two are. Raises InputError where one is missing, or for another name.
    """
    if name == "openpose":
        from .openpose_aux import OpenPoseDetector

        return OpenPoseDetector.from_folder(folder, device=device)
    if name == "dwpose":
        from .dwpose_onnx import DWPoseDetector

        return DWPoseDetector.from_folder(folder)
    if name == "drawn":
        from .drawn_map import DrawnMapDetector

        return DrawnMapDetector()
    raise InputError(f"There is no detector {name!r}; choose one of {', '.join(DETECTORS)}.")
