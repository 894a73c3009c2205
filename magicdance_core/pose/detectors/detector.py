"""The interface of a pose detector, and the detectors by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...choices import DETECTORS
from ...errors import InputError
from ..keypoints import Person

if TYPE_CHECKING:
    import torch

_AUTOMATIC = ("dwpose", "openpose", "mediapipe")  # what "auto" takes the first of whose files are there


class Detector(Protocol):
    """Finds the keypoints of people in a picture."""

    def reset(self) -> None:
        """Forget earlier pictures: the next one is the first of another video."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """Return the people in a picture, uint8 [H, W, 3] RGB, in its pixel coordinates; empty if there is nobody.

        Pictures are given in the order of their video; a detector may follow people from one to the next.
        """


@dataclass(frozen=True)
class DetectorChoice:
    """A detector's name, the folder of its files, and why it was chosen, as a part of a sentence."""

    name: str
    folder: Path
    reason: str


def required_files(folder: str | Path, names: Sequence[str], source: str) -> list[Path]:
    """Return the paths of files in a folder. Raises InputError with the download address if some are missing."""
    paths = [Path(folder) / name for name in names]
    if missing := [path.name for path in paths if not path.is_file()]:
        are, them = ("is", "it") if len(missing) == 1 else ("are", "them")
        raise InputError(
            f"{' and '.join(missing)} {are} not in {folder}: download {them} from {source} and put {them} there."
        )
    return paths


def detector_file(name: str) -> str | None:
    """Return the name of a file by which a detector's folder is recognised; None if the detector needs no files."""
    if name == "openpose":
        from .openpose import FILES

        return FILES["body"]
    if name == "dwpose":
        from .dwpose import BOX_FILE

        return BOX_FILE
    if name == "mediapipe":
        from .mediapipe_files import WHEEL

        return WHEEL
    return None


def choose_detector(name: str, folder_of: Callable[[str | None], Path]) -> DetectorChoice:
    """Return the detector of a name, of "auto" the first of dwpose, openpose and mediapipe whose files are there.

    folder_of: returns the folder that has a file of `detector_file`, or the one where it belongs.
    Raises InputError with the easiest way to get files if "auto" finds none.
    """
    if name != "auto":
        return DetectorChoice(name, folder_of(detector_file(name)), "it was asked for")
    lacking = []
    for candidate in _AUTOMATIC:
        folder = folder_of(detector_file(candidate))
        lacks = _what_is_missing(candidate, folder)
        if lacks is None:
            others = f"; {', '.join(lacking)}" if lacking else ""
            return DetectorChoice(candidate, folder, f"its files are there{others}")
        lacking.append(f"{candidate} lacks {lacks}")
    from .mediapipe_files import download_command

    raise InputError(
        f"No pose detector's files were found in {folder} ({', '.join(lacking)}): get one, the easiest way is "
        f"`{download_command(folder)}`."
    )


def make_detector(name: str, folder: str | Path, device: str | torch.device = "cpu") -> Detector:
    """Return a detector: "openpose" (controlnet-aux's networks), "dwpose" (onnxruntime), "mediapipe" (Google's
    networks), "drawn" (reads pose maps), or "auto" (see `choose_detector`).

    folder: where the files of the first three are. device: where networks of torch run.
    Raises InputError if a file is missing or the name is unknown.
    """
    if name == "auto":
        name = choose_detector(name, lambda file: Path(folder)).name
    if name == "openpose":
        from .openpose import OpenPoseDetector

        return OpenPoseDetector.from_folder(folder, device=device)
    if name == "dwpose":
        from .dwpose import DWPoseDetector

        return DWPoseDetector.from_folder(folder)
    if name == "mediapipe":
        from .mediapipe import MediaPipeDetector

        return MediaPipeDetector.from_folder(folder, device=device)
    if name == "drawn":
        from .drawn_map import DrawnMapDetector

        return DrawnMapDetector()
    raise InputError(f"The detector {name!r} is unknown: choose one of {', '.join(DETECTORS)}.")


def _what_is_missing(name: str, folder: Path) -> str | None:
    """Return what a detector lacks in a folder, as a part of a sentence; None if nothing."""
    if name == "mediapipe":
        from .mediapipe_files import find_source

        return None if find_source(folder) else "its networks"
    if name == "dwpose":
        from .dwpose import BOX_FILE, POSE_FILE

        files, package = [BOX_FILE, POSE_FILE], "onnxruntime"
    else:
        from .openpose import FILES

        files, package = list(FILES.values()), "controlnet_aux"
    missing = [file for file in files if not (folder / file).is_file()]
    if not missing and importlib.util.find_spec(package) is None:
        missing = [f"the package {package}"]
    return " and ".join(missing) or None
