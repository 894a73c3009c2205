"""Whose face is in a frame: SCRFD finds it, ArcFace reads it; both through onnxruntime, from the user's files.

Sources: Guo et al., "Sample and computation redistribution for efficient face detection" (2021); Deng et al., "ArcFace:
additive angular margin loss for deep face recognition" (2019). The published figure's code was never released.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ..pose.detectors.dwpose import Network, onnx_network
from .weights import FACE_FINDER, FACE_READER

FINDER_SIZE = 640
STRIDES = (8, 16, 32)
ANCHORS = 2  # at each place, and of each the same kind of answer
THRESHOLD = 0.5
READER_SIZE = 112
# Where eyes, nose and mouth corners (the person's right ones first) have to be in the reader's picture.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
DIMENSIONS = 512


class FaceViewer:
    """The surest face of a frame as a unit vector of 512 numbers; NaN where no face is found."""

    name, window = "faces", 1

    def __init__(self, find: Network, read: Network):
        """find: [1, 3, 640, 640] to scores, boxes and points at three strides; read: [1, 3, 112, 112] to [1, 512]."""
        self.find, self.read = find, read

    @classmethod
    def from_files(cls, finder: Path, reader: Path) -> FaceViewer:
        """Raises InputError where a file is damaged or onnxruntime is not installed."""
        return cls(onnx_network(finder, FACE_FINDER.source), onnx_network(reader, FACE_READER.source))

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Done at once, one frame at a time: what is kept is the vector."""
        points = self.landmarks(frame)
        if points is None:
            return np.full(DIMENSIONS, np.nan, np.float32)
        vector = self.read(_blob(aligned(frame, points), 127.5))[0][0].astype(np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def view(self, prepared: np.ndarray) -> np.ndarray:
        return prepared

    def landmarks(self, frame: np.ndarray) -> np.ndarray | None:
        """Eyes, nose and mouth corners of the surest face, float64 [5, 2] in pixels; None where there is none."""
        height, width = frame.shape[:2]
        scale = FINDER_SIZE / max(height, width)
        small = cv2.resize(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
        square = np.zeros((FINDER_SIZE, FINDER_SIZE, 3), np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        found = strongest(self.find(_blob(square, 128.0)))
        return None if found is None else found * (width / small.shape[1], height / small.shape[0])


def _blob(picture: np.ndarray, scale: float) -> np.ndarray:
    return ((picture.astype(np.float32) - 127.5) / scale).transpose(2, 0, 1)[None]


def strongest(answers: list[np.ndarray]) -> np.ndarray | None:
    """The points [5, 2] of the face with the highest score, in pixels of the finder's picture.

    answers: scores [n, 1] at each stride, then boxes [n, 4], then points [n, 10] as distances in strides;
    n = ANCHORS x places, row by row.
    """
    best, points = THRESHOLD, None
    for stride, scores, offsets in zip(STRIDES, answers[:3], answers[6:9]):
        scores, offsets = scores.reshape(-1), offsets.reshape(-1, 5, 2)
        index = int(scores.argmax())
        if scores[index] >= best:
            best = scores[index]
            row, column = divmod(index // ANCHORS, FINDER_SIZE // stride)
            points = (np.array([column, row]) + offsets[index].astype(float)) * stride
    return points


def aligned(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face turned, scaled and moved so that its points fit TEMPLATE best: uint8 [112, 112, 3]."""
    # In complex numbers a turn, scale and shift is z -> a z + b, which makes the fit a linear one.
    z, w = (p[:, 0] + 1j * p[:, 1] for p in (points, TEMPLATE))
    a, b = np.linalg.lstsq(np.stack([z, np.ones(5)], axis=1), w, rcond=None)[0]
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return cv2.warpAffine(frame, matrix, (READER_SIZE, READER_SIZE))


def face_scores(made: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """face_cos: cosine of the vectors [F, 512] of each frame, NaN where either face was not found; face_found: whether
    the generated face was, NaN where the true one was not."""
    there = np.isfinite(true).all(axis=1)
    found = np.isfinite(made).all(axis=1).astype(float)
    return {"face_cos": (made * true).sum(axis=1).astype(float), "face_found": np.where(there, found, np.nan)}
