"""OpenPose's body, hand and face networks, as the published pose maps were made with."""

from pathlib import Path

import cv2
import numpy as np

from ..keypoints import Person
from .association import people_of_maps
from .heatmaps import STRIDE, highest_points
from .openpose_networks import load_network

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
        return [body * scale for body in people_of_maps(fields, joints)]

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
        points = highest_points(self._run(kind, crop)[-1][:count], PART_THRESHOLD)
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
