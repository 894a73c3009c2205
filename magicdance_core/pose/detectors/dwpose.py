"""DWPose: YOLOX boxes and SimCC keypoints, through onnxruntime from local ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ...errors import InputError
from ..keypoints import Person
from .detector import required_files

SOURCE = "https://huggingface.co/yzd-v/DWPose"
BOX_FILE, POSE_FILE = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
POINT_THRESHOLD = 0.3
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")

Network = Callable[[np.ndarray], list[np.ndarray]]


class DWPoseDetector:
    """DWPose: one network finds people's boxes, another finds 133 keypoints in each box.

    find_people: [1, 3, 640, 640] -> [[1, 8400, 85]]; find_points: [1, 3, 384, 288] -> [[1, 133, 576], [1, 133, 768]].
    """

    def __init__(self, find_people: Network, find_points: Network):
        self.find_people, self.find_points = find_people, find_points

    @classmethod
    def from_folder(cls, folder: str | Path) -> DWPoseDetector:
        """Load yolox_l.onnx and dw-ll_ucoco_384.onnx from a folder, onto a GPU if onnxruntime has one.

        Raises InputError if a file is missing or damaged, or onnxruntime is not installed.
        """
        return cls(*map(onnx_network, required_files(folder, (BOX_FILE, POSE_FILE), SOURCE)))

    def reset(self) -> None:
        """See `Detector.reset`; nothing is remembered."""

    def detect(self, picture: np.ndarray) -> tuple[Person, ...]:
        """See `Detector.detect`."""
        pixels, scale = letterbox(picture)
        boxes = decode_yolox(self.find_people(pixels)[0], scale)
        return tuple(self._person(picture, box) for box in boxes)

    def _person(self, picture: np.ndarray, box: np.ndarray) -> Person:
        pixels, back = pose_input(picture, box)
        x, y = self.find_points(pixels)
        return person_from_wholebody(decode_simcc(x, y, back), POINT_THRESHOLD)


def onnx_network(path: Path, source: str = SOURCE) -> Network:
    """Load the network of an ONNX file, onto a GPU if onnxruntime has one. source: download address, for messages.

    Raises InputError if the file is damaged or onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f"{path.name} needs onnxruntime ({error}): run pip install onnxruntime.") from error
    providers = [name for name in _PREFERRED if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # onnxruntime's exceptions have no common public class
        raise InputError(
            f"{path} cannot be loaded by onnxruntime ({error}): download it again from {source}."
        ) from error
    name = session.get_inputs()[0].name
    return lambda pixels: session.run(None, {name: pixels})


BOX_SIDE = 640
STRIDES = (8, 16, 32)
_PADDING = (114, 114, 114)
PERSON_CLASS = 0
MIN_BOX_SCORE = 0.3
MAX_OVERLAP = 0.45

POSE_SIZE = (288, 384)  # width, height
BOX_MARGIN = 1.25
SIMCC_SPLIT = 2
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)
_STD = np.array([58.395, 57.12, 57.375], np.float32)


def letterbox(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """Return YOLOX's input for a picture [H, W, 3] RGB, and the scale of the picture in it.

    The input is float32 [1, 3, 640, 640], BGR, 0 to 255: the resized picture in the top left corner, grey elsewhere.
    """
    height, width = picture.shape[:2]
    scale = min(BOX_SIDE / height, BOX_SIDE / width)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    canvas = np.full((BOX_SIDE, BOX_SIDE, 3), _PADDING, np.uint8)
    canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1), np.float32)[None], scale


def decode_yolox(output: np.ndarray, scale: float) -> np.ndarray:
    """Return people's boxes [N, 4] (left, top, right, bottom in pixels of the picture), the most certain first.

    output: [1, 8400, 5 + classes]; for each cell of the grids of stride 8, 16 and 32 the centre in cells relative to
    the cell, logarithm of the size in cells, objectness, class probabilities. Source: YOLOX, arXiv 2107.08430.
    """
    cells = [_grid(stride) for stride in STRIDES]
    corners, strides = (np.concatenate(parts) for parts in zip(*cells))
    rows = output[0].astype(np.float64)
    scores = rows[:, 4] * rows[:, 5 + PERSON_CLASS]
    likely = scores > MIN_BOX_SCORE
    centres = (rows[likely, :2] + corners[likely]) * strides[likely]
    half_sizes = np.exp(np.minimum(rows[likely, 2:4], 20)) * strides[likely] / 2
    boxes, scores = np.concatenate([centres - half_sizes, centres + half_sizes], axis=1) / scale, scores[likely]
    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(_overlap(boxes[i], boxes[k]) <= MAX_OVERLAP for k in kept):
            kept.append(i)
    return boxes[kept]


def pose_input(picture: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose network's input for a person's box, and the matrix [2, 3] from its pixels to the picture's.

    The input is float32 [1, 3, 384, 288], RGB, normalised. Pixels are counted from the top left corner.
    """
    centre, (width, height) = (box[:2] + box[2:]) / 2, np.maximum(box[2:] - box[:2], 1)
    aspect = POSE_SIZE[0] / POSE_SIZE[1]
    width = BOX_MARGIN * max(width, height * aspect)
    step = width / POSE_SIZE[0]
    corner = centre - step * np.array(POSE_SIZE) / 2
    back = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
    by_centres = back.copy()
    by_centres[:, 2] += (step - 1) / 2  # OpenCV counts from pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(picture, by_centres, POSE_SIZE, flags=flags).astype(np.float32)
    return ((crop - _MEAN) / _STD).transpose(2, 0, 1)[None], back


def decode_simcc(x: np.ndarray, y: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Return keypoints [K, 3] in pixels of the picture from scores of half-pixel bins, [1, K, 576] and [1, K, 768].

    The lower of the two maxima, clipped to [0, 1], is the confidence. Source: SimCC, arXiv 2107.03332.
    """
    position = np.stack([x[0].argmax(axis=1), y[0].argmax(axis=1)], axis=1) / SIMCC_SPLIT
    confidence = np.minimum(x[0].max(axis=1), y[0].max(axis=1)).clip(0, 1)
    return np.concatenate([position @ back[:, :2].T + back[:, 2], confidence[:, None]], axis=1)


def _grid(stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the cells [n, 2], row by row, and their stride [n, 1]."""
    y, x = np.mgrid[: BOX_SIDE // stride, : BOX_SIDE // stride]
    cells = np.stack([x.ravel(), y.ravel()], axis=1)
    return cells, np.full((len(cells), 1), stride)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection over union of two boxes."""
    intersection = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - intersection
    return float(intersection / union) if union > 0 else 0.0


POINTS = 133
FEET, FACE, LEFT_HAND, RIGHT_HAND = slice(17, 23), slice(23, 91), slice(91, 112), slice(112, 133)
# The 17 body points of COCO in OpenPose's order, which adds the neck.
_COCO = (0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_OPENPOSE = (0, *range(2, 18))
_NECK, _RIGHT_SHOULDER, _LEFT_SHOULDER = 1, 2, 5


def person_from_wholebody(points: np.ndarray, threshold: float = 0.0) -> Person:
    """Return the person of COCO-WholeBody keypoints [133, 3]: x, y in pixels, confidence.

    The neck is midway between the shoulders with the lower of their confidences. Pupils, which the format lacks, are
    missing. Points whose confidence does not exceed `threshold` are dropped.
    Source: COCO-WholeBody (arXiv 2007.11858). Raises InputError for another shape.
    """
    points = np.asarray(points, np.float32)
    if points.shape != (POINTS, 3):
        raise InputError(f"COCO-WholeBody points have shape {list(points.shape)}: give {[POINTS, 3]}.")
    points = np.where(points[:, 2:] > threshold, points, 0)
    body = np.zeros((18, 3), np.float32)
    body[list(_OPENPOSE)] = points[list(_COCO)]
    body[_NECK] = _middle(body[_RIGHT_SHOULDER], body[_LEFT_SHOULDER])
    face = np.concatenate([points[FACE], np.zeros((2, 3), np.float32)])
    return Person(body, points[LEFT_HAND], points[RIGHT_HAND], face, feet=points[FEET])


def _middle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the point [3] midway between two, with the lower confidence; zeros where either is missing."""
    confidence = min(a[2], b[2])
    return np.array([*(a[:2] + b[:2]) / 2, confidence], np.float32) if confidence > 0 else np.zeros(3, np.float32)
