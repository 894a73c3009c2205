"""OpenPose: controlnet-aux's body, hand and face networks, with weights from local files."""

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
from .detector import required_file
from .openpose_decoding import STRIDE, highest_peaks, people_from_maps

RESOLUTION = 368
# A wider picture than this many times its height is looked at in less detail, lest it take all memory.
WIDEST = 4
HAND_SIDE, FACE_SIDE = 368, 384
PART_THRESHOLD = 0.05
SMALLEST_BOX = 20
_GREY = (128, 128, 128)

_NOSE, _EYES, _EARS = 0, (14, 15), (16, 17)
_RIGHT_ARM, _LEFT_ARM = (2, 3, 4), (5, 6, 7)


class OpenPoseDetector:
    """controlnet-aux's networks, with weights from local files.

    networks: a torch ModuleDict with "body" and, where wanted, "hand" and "face". resolution: the height in pixels at
    which bodies are looked for; the published maps were made with 184. device: where pictures go, where the weights are
    if None.
    """

    def __init__(self, networks, resolution: int = RESOLUTION, device=None):
        self.networks = networks
        self.resolution = resolution
        self.device = device

    @classmethod
    def from_folder(cls, folder: str | Path, *, hands=True, face=True, resolution: int = RESOLUTION, device="cpu"):
        """Of body_pose_model.pth, hand_pose_model.pth and facenet.pth in a folder; InputError where one is missing."""
        from torch import nn

        kinds = ["body", *["hand"] * hands, *["face"] * face]
        return cls(nn.ModuleDict({kind: load_network(kind, folder) for kind in kinds}).to(device), resolution)

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See base.Detector."""
        return tuple(self._person(picture, body) for body in self._bodies(picture))

    def _bodies(self, picture: np.ndarray) -> list[np.ndarray]:
        height, width = picture.shape[:2]
        factor = min(self.resolution / height, WIDEST * self.resolution / width)
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
        """Points [count, 3] that a network finds in a box (left, top, side); the last channel is the background."""
        if box is None:
            return np.zeros((count, 3), np.float32)
        scale = side / box[2]
        warp = np.array([[scale, 0, -scale * box[0]], [0, scale, -scale * box[1]]])
        warp[:, 2] += (scale - 1) / 2  # OpenCV counts from pixels' centres
        crop = cv2.warpAffine(picture, warp, (side, side), borderValue=_GREY)
        points = highest_peaks(self._run(kind, crop)[-1][:count], PART_THRESHOLD)
        found = points[:, 2:] > 0
        return np.where(found, np.concatenate([points[:, :2] / scale + box[:2], points[:, 2:]], axis=1), 0)

    def _run(self, kind: str, picture: np.ndarray) -> list[np.ndarray]:
        """The maps [C, h, w] that a network makes of a picture."""
        import torch

        network = self.networks[kind]
        parameter = next(network.parameters())
        pixels = torch.from_numpy(np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1)))[None]
        with torch.inference_mode():
            maps = network(pixels.to(self.device or parameter.device, parameter.dtype) / 256 - 0.5)
        maps = [maps] if torch.is_tensor(maps) else maps
        return [m[0].float().cpu().numpy() for m in maps]


def hand_box(body: np.ndarray, shoulder: int, elbow: int, wrist: int) -> np.ndarray | None:
    """Left, top and side of the square where the hand of an arm is, in pixels; None where the arm does not show it."""
    if not (body[[shoulder, elbow, wrist], 2] > 0).all():
        return None
    upper, lower = (body[b, :2] - body[a, :2] for a, b in ((shoulder, elbow), (elbow, wrist)))
    side = 1.5 * max(np.linalg.norm(lower), 0.9 * np.linalg.norm(upper))
    return _box(body[wrist, :2] + 0.33 * lower, side)


def face_box(body: np.ndarray) -> np.ndarray | None:
    """The same for the face, around the nose; None without the nose or both eyes and ears."""
    nose = body[_NOSE]
    reach = [
        factor * np.abs(body[point, :2] - nose[:2]).max()
        for points, factor in ((_EYES, 3.0), (_EARS, 1.5))
        for point in points
        if body[point, 2] > 0
    ]
    return _box(nose[:2], 2 * max(reach)) if nose[2] > 0 and reach else None


def _box(centre: np.ndarray, side: float) -> np.ndarray | None:
    return np.array([*(centre - side / 2), side]) if side >= SMALLEST_BOX else None


if TYPE_CHECKING:
    from torch import nn

SOURCE = "https://huggingface.co/lllyasviel/Annotators"
FILES = {"body": "body_pose_model.pth", "hand": "hand_pose_model.pth", "face": "facenet.pth"}
_CLASSES = {"body": ("model", "bodypose_model"), "hand": ("model", "handpose_model"), "face": ("face", "FaceNet")}
_PRIVATE = "_magicdance_open_pose"


def new_network(kind: str) -> nn.Module:
    """The network without trained weights, in evaluation mode. kind: "body", "hand" or "face".

    Pictures go in as float32 [1, 3, H, W], BGR, value / 256 - 0.5, sides multiples of 8. Heat maps come out at an
    eighth of the size: part affinities [1, 38, h, w] and joints [1, 19, h, w]; [1, 22, h, w]; a list whose last is
    [1, 71, h, w].
    Raises InputError where controlnet-aux cannot be used.
    """
    module, name = _CLASSES[kind]
    try:
        return getattr(_open_pose(module), name)().eval()
    except (ImportError, AttributeError) as error:
        raise InputError(f"controlnet-aux cannot be used ({error}); run pip install -U controlnet-aux.") from error


def load_network(kind: str, folder: str | Path) -> nn.Module:
    """The network with the weights of its file in the folder, on the CPU. Nothing is downloaded, no pickle is run.

    Raises InputError where the file is missing, damaged or of another network.
    """
    import torch

    path = required_file(folder, FILES[kind], SOURCE)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # no numbers are drawn for weights that the file replaces
            network = new_network(kind)
        names = {_file_key(name, state): name for name in network.state_dict()}
        network.load_state_dict({names[key]: value.float() for key, value in state.items()}, assign=True)
    except (OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("\n")[0]
        raise InputError(f"{path} does not hold the {kind} network ({reason}); get it again from {SOURCE}.") from error
    return network


def _file_key(name: str, state: dict) -> str:
    """The body and hand files lack the first part of the networks' names."""
    return name if name in state else name.split(".", 1)[1]


def _open_pose(module: str) -> ModuleType:
    """A module of controlnet_aux.open_pose, imported under a private package of the same folder.

    `import controlnet_aux` imports all its detectors and fails as a whole where one does (current mediapipe, SciPy 2).
    The networks need torch alone; the face module's `util` is for decoding, which is ours, and stays empty.
    """
    if _PRIVATE not in sys.modules:
        spec = importlib.util.find_spec("controlnet_aux")
        if spec is None:
            raise ImportError("it is not installed")
        package, util = ModuleType(_PRIVATE), ModuleType(f"{_PRIVATE}.util")
        package.__path__ = [str(Path(place) / "open_pose") for place in spec.submodule_search_locations]
        package.util = util  # type: ignore[attr-defined]
        sys.modules[_PRIVATE], sys.modules[util.__name__] = package, util
    return importlib.import_module(f"{_PRIVATE}.{module}")
