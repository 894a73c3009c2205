"""OpenPose: controlnet-aux's body, hand and face networks with weights from local files.

The published pose maps were made with them.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ...errors import InputError
from ..keypoints import Person
from .detector import required_files
from .openpose_decoding import STRIDE, highest_peaks, people_from_maps

RESOLUTION = 368
# Pictures wider than this many times their height are searched at a lower resolution, to bound the memory.
MAX_ASPECT = 4
HAND_SIDE, FACE_SIDE = 368, 384
PART_THRESHOLD = 0.05
MIN_BOX_SIDE = 20
_GREY = (128, 128, 128)

_NOSE, _EYES, _EARS = 0, (14, 15), (16, 17)
_RIGHT_ARM, _LEFT_ARM = (2, 3, 4), (5, 6, 7)


class OpenPoseDetector:
    """Finds bodies with OpenPose's body network, then hands and face around them.

    networks: a torch ModuleDict with "body" and optionally "hand" and "face". resolution: the picture height in pixels
    at which bodies are searched; the published maps were made with 184. device: where the networks run; None: where
    their weights are.
    """

    def __init__(self, networks, resolution: int = RESOLUTION, device=None):
        self.networks = networks
        self.resolution = resolution
        self.device = device

    @classmethod
    def from_folder(cls, folder: str | Path, *, hands=True, face=True, resolution: int = RESOLUTION, device="cpu"):
        """Load body_pose_model.pth, hand_pose_model.pth and facenet.pth. Raises InputError if some are missing."""
        from torch import nn

        kinds = ["body", *["hand"] * hands, *["face"] * face]
        required_files(folder, [FILES[kind] for kind in kinds], SOURCE)
        return cls(nn.ModuleDict({kind: load_network(kind, folder) for kind in kinds}).to(device), resolution)

    def reset(self) -> None:
        """See `Detector.reset`; nothing is remembered."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See `Detector.detect`."""
        return tuple(self._person(picture, body) for body in self._bodies(picture))

    def _bodies(self, picture: np.ndarray) -> list[np.ndarray]:
        height, width = picture.shape[:2]
        factor = min(self.resolution / height, MAX_ASPECT * self.resolution / width)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        shrunk = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if height > size[1] else cv2.INTER_CUBIC)
        padding = (-size[1] % STRIDE, -size[0] % STRIDE)
        padded = cv2.copyMakeBorder(shrunk, 0, padding[0], 0, padding[1], cv2.BORDER_CONSTANT, value=_GREY)
        fields, joints = self._run("body", padded)
        scale = np.array([width / size[0], height / size[1], 1])
        return [body * scale for body in people_from_maps(fields, joints)]

    def _person(self, picture: np.ndarray, body: np.ndarray) -> Person:
        parts = {}
        if "hand" in self.networks:
            parts["right_hand"] = self._part(picture, "hand", hand_box(body, *_RIGHT_ARM), HAND_SIDE, 21)
            parts["left_hand"] = self._part(picture, "hand", hand_box(body, *_LEFT_ARM), HAND_SIDE, 21)
        if "face" in self.networks:
            parts["face"] = self._part(picture, "face", face_box(body), FACE_SIDE, 70)
        return Person(body, **parts)

    def _part(self, picture: np.ndarray, kind: str, box: np.ndarray | None, side: int, count: int) -> np.ndarray:
        """Return the keypoints [count, 3] that a network finds in a box (left, top, side)."""
        if box is None:
            return np.zeros((count, 3), np.float32)
        scale = side / box[2]
        warp = np.array([[scale, 0, -scale * box[0]], [0, scale, -scale * box[1]]])
        warp[:, 2] += (scale - 1) / 2  # OpenCV counts from pixel centres
        crop = cv2.warpAffine(picture, warp, (side, side), borderValue=_GREY)
        points = highest_peaks(self._run(kind, crop)[-1][:count], PART_THRESHOLD)
        found = points[:, 2:] > 0
        return np.where(found, np.concatenate([points[:, :2] / scale + box[:2], points[:, 2:]], axis=1), 0)

    def _run(self, kind: str, picture: np.ndarray) -> list[np.ndarray]:
        """Return the maps [C, h, w] of a network for a picture."""
        import torch

        network = self.networks[kind]
        parameter = next(network.parameters())
        pixels = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            maps = network(pixels.to(self.device or parameter.device, parameter.dtype) / 256 - 0.5)
        maps = [maps] if torch.is_tensor(maps) else maps
        return [m[0].float().cpu().numpy() for m in maps]


def hand_box(body: np.ndarray, shoulder: int, elbow: int, wrist: int) -> np.ndarray | None:
    """Return left, top and side in pixels of the square around a hand; None if a joint of its arm is missing."""
    if not (body[[shoulder, elbow, wrist], 2] > 0).all():
        return None
    upper, lower = (body[b, :2] - body[a, :2] for a, b in ((shoulder, elbow), (elbow, wrist)))
    side = 1.5 * max(np.linalg.norm(lower), 0.9 * np.linalg.norm(upper))
    return _box(body[wrist, :2] + 0.33 * lower, side)


def face_box(body: np.ndarray) -> np.ndarray | None:
    """Return left, top and side in pixels of the square around a face; None without nose, or without eyes and ears."""
    nose = body[_NOSE]
    reach = [
        factor * np.abs(body[point, :2] - nose[:2]).max()
        for points, factor in ((_EYES, 3.0), (_EARS, 1.5))
        for point in points
        if body[point, 2] > 0
    ]
    return _box(nose[:2], 2 * max(reach)) if nose[2] > 0 and reach else None


def _box(centre: np.ndarray, side: float) -> np.ndarray | None:
    return np.array([*(centre - side / 2), side]) if side >= MIN_BOX_SIDE else None


if TYPE_CHECKING:
    from torch import nn

SOURCE = "https://huggingface.co/lllyasviel/Annotators"
FILES = {"body": "body_pose_model.pth", "hand": "hand_pose_model.pth", "face": "facenet.pth"}
_CLASSES = {"body": ("model", "bodypose_model"), "hand": ("model", "handpose_model"), "face": ("face", "FaceNet")}
_PRIVATE_PACKAGE = "_magicdance_open_pose"


def new_network(kind: str) -> nn.Module:
    """Return an untrained network in evaluation mode. kind: "body", "hand" or "face".

    Input: float32 [1, 3, H, W], BGR, value / 256 - 0.5, sides multiples of 8. Output, at an eighth of the size: part
    affinities [1, 38, h, w] and joints [1, 19, h, w] (body); heat maps [1, 22, h, w] (hand); a list whose last item is
    [1, 71, h, w] (face).
    Raises InputError if controlnet-aux cannot be used.
    """
    module, name = _CLASSES[kind]
    try:
        return getattr(_import_networks(module), name)().eval()
    except (ImportError, AttributeError) as error:
        raise InputError(f"controlnet-aux cannot be used ({error}): run pip install -U controlnet-aux.") from error


def load_network(kind: str, folder: str | Path) -> nn.Module:
    """Load a network from its file in the folder, on the CPU, without downloads and without unpickling code.

    Raises InputError if the file is missing, damaged or of another network.
    """
    import torch

    (path,) = required_files(folder, [FILES[kind]], SOURCE)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # the file replaces the weights: do not initialise them
            network = new_network(kind)
        names = {_file_key(name, state): name for name in network.state_dict()}
        network.load_state_dict({names[key]: value.float() for key, value in state.items()}, assign=True)
    except (OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{path} does not contain the {kind} network ({reason}): download it again from {SOURCE}."
        ) from error
    return network


def _file_key(name: str, state: dict) -> str:
    """Return the name of a parameter in the file: body and hand files lack its first component."""
    return name if name in state else name.split(".", 1)[1]


def _import_networks(module: str) -> ModuleType:
    """Import a module of controlnet_aux.open_pose without running the __init__ files above it.

    There is no public import of the network classes alone: `import controlnet_aux`, which every submodule import runs
    first, imports all its detectors and fails if any of them does (as with current mediapipe or SciPy). The modules of
    the networks need only torch. They are imported under a private package of the same folder; the face module's `util`
    is used for decoding only, which we do ourselves, and is left empty.
    """
    if _PRIVATE_PACKAGE not in sys.modules:
        spec = importlib.util.find_spec("controlnet_aux")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("it is not installed")
        package, util = ModuleType(_PRIVATE_PACKAGE), ModuleType(f"{_PRIVATE_PACKAGE}.util")
        package.__path__ = [str(Path(location) / "open_pose") for location in spec.submodule_search_locations]
        package.util = util  # type: ignore[attr-defined]
        sys.modules[_PRIVATE_PACKAGE], sys.modules[util.__name__] = package, util
    return importlib.import_module(f"{_PRIVATE_PACKAGE}.{module}")
