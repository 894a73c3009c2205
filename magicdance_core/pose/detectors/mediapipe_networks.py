"""Run MediaPipe's networks on regions of a picture, and decode its detection networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from .regions import Region
from .ssd import Detection, anchors, decode

# (name of a network, square uint8 [S, S, 3] RGB) -> the network's wanted outputs.
Run = Callable[[str, np.ndarray], list[np.ndarray]]

# The outputs of networks that have more than are needed.
WANTED_OUTPUTS = {"pose": (0, 1, 3), "hand": (0, 1)}
_SIGNED = ("person", "face_box")  # inputs in [-1, 1]; others in [0, 1]


def make_networks(files: dict[str, bytes]):
    """Return a torch ModuleDict of the networks of TFLite files, by name. See `mediapipe_files.read_networks`."""
    from torch import nn

    from .tflite_network import TFLiteNetwork

    return nn.ModuleDict({name: TFLiteNetwork(data, WANTED_OUTPUTS.get(name)) for name, data in files.items()}).eval()


def run_network(networks, device, name: str, crop: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of a network of `make_networks` for a crop. device: where it runs."""
    import torch

    with torch.inference_mode():
        pixels = torch.from_numpy(crop).to(device)[None].float() / 255
        outputs = networks[name](pixels * 2 - 1 if name in _SIGNED else pixels)
        return [output.cpu().numpy() for output in outputs]


@dataclass(frozen=True)
class DetectionNetwork:
    """A network that finds boxes with keypoints.

    size: of the input in pixels. grids: cells a side and anchors a cell. threshold: of the score.
    """

    name: str
    size: int
    grids: tuple[tuple[int, int], ...]
    threshold: float

    def find(self, run: Run, picture: np.ndarray, region: Region, threshold: float | None = None) -> list[Detection]:
        """Return the detections in an upright region of a picture, in its pixels, best first."""
        boxes, logits = run(self.name, region.crop(picture, self.size, repeat_border=False))
        threshold = self.threshold if threshold is None else threshold
        found = decode(boxes, logits, _anchors(self.grids), self.size, threshold)
        return [detection.in_picture(region) for detection in found]


_anchors = cache(anchors)

PERSON = DetectionNetwork("person", 224, ((28, 2), (14, 2), (7, 6)), 0.5)
PALM = DetectionNetwork("palm", 192, ((24, 2), (12, 6)), 0.4)
FACE_BOX = DetectionNetwork("face_box", 128, ((16, 2), (8, 6)), 0.5)
