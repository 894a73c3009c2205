"""DWPose through onnxruntime, from local ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..keypoints import Person
from ..wholebody import person_from_wholebody
from .base import required_file
from .dwpose_decode import boxes_of_yolox, letterbox, points_of_simcc, pose_input

SOURCE = "https://huggingface.co/yzd-v/DWPose"
BOX_FILE, POSE_FILE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
POINT_THRESHOLD = 0.3
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")

Network = Callable[[np.ndarray], list[np.ndarray]]


class DWPoseDetector:
    """A network that finds people's boxes and one that finds 133 points in a box.

    find_people: [1, 3, 640, 640] -> [[1, 8400, 85]]; find_points: [1, 3, 384, 288] -> [[1, 133, 576], [1, 133, 768]].
    """

    def __init__(self, find_people: Network, find_points: Network):
        self.find_people, self.find_points = find_people, find_points

    @classmethod
    def from_folder(cls, folder: str | Path) -> DWPoseDetector:
        """Of yolox_l.onnx and dw-ll_ucoco_384.onnx in a folder, on a GPU where onnxruntime has one.

        Raises InputError where a file is missing or damaged, or onnxruntime is not installed.
        """
        return cls(*map(onnx_network, [required_file(folder, name, SOURCE) for name in (BOX_FILE, POSE_FILE)]))

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See base.Detector."""
        pixels, scale = letterbox(picture)
        boxes = boxes_of_yolox(self.find_people(pixels)[0], scale)
        return tuple(self._person(picture, box) for box in boxes)

    def _person(self, picture: np.ndarray, box: np.ndarray) -> Person:
        pixels, back = pose_input(picture, box)
        x, y = self.find_points(pixels)
        return person_from_wholebody(points_of_simcc(x, y, back), POINT_THRESHOLD)


def onnx_network(path: Path, source: str = SOURCE) -> Network:
    """The network in an ONNX file, on a GPU where onnxruntime has one. source: where the file is had, for messages.

    Raises InputError where the file is damaged or onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path.name} needs onnxruntime ({error}); run pip install onnxruntime.") from error
    providers = [name for name in _PREFERRED if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common public class
        raise InputError(f"{path} cannot be loaded by onnxruntime ({error}); get it again from {source}.") from error
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})
