"""Similarity of faces: SCRFD detects a face, ArcFace embeds it, both by onnxruntime from the user's files.

Sources: Guo et al., "Sample and computation redistribution for efficient face detection" (2021); Deng et al., "ArcFace:
additive angular margin loss for deep face recognition" (2019); see adaface for the paper's network. The published
figure's code was never released.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from ..checkpoints.tensors import TensorFile
from ..errors import InputError
from ..pose.detectors.dwpose import Network, onnx_network
from .adaface import UNITS, AdaFace
from .metric_weights import FACE_DETECTOR, FACE_EMBEDDER, load_metric_network

DETECTOR_SIZE = 640
STRIDES = (8, 16, 32)
ANCHORS = 2  # at each position
THRESHOLD = 0.5
EMBEDDER_SIZE = 112
# Positions of eyes, nose and mouth corners (the person's right ones first) in the embedder's input.
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
DIMENSIONS = 512


class FaceExtractor:
    """Embedding of the most confident face of a frame: a unit vector float32 [512], NaN if none is found."""

    window = 1

    def __init__(self, detect: Network, embed: Network, name: str = "faces"):
        """Take both networks.

        detect: [1, 3, 640, 640] to scores, boxes and points at three strides. embed: [1, 3, 112, 112], RGB in [-1, 1],
        to [1, 512]. name: of the features.
        """
        self.detect, self.embed, self.name = detect, embed, name

    @classmethod
    def from_files(cls, detector: Path, embedder: Path) -> FaceExtractor:
        """Load both networks. Raises InputError if a file is damaged or onnxruntime is not installed."""
        return cls(onnx_network(detector, FACE_DETECTOR.source), onnx_network(embedder, FACE_EMBEDDER.source))

    @classmethod
    def with_adaface(cls, detector: Path, embedder: Path, device: torch.device) -> FaceExtractor:
        """Load SCRFD and AdaFace, the paper's network. Raises InputError as `from_files` does."""
        shapes = TensorFile(embedder).shapes
        count = len({name.split(".")[2] for name in shapes if name.startswith("model.body.")})
        units = next((units for units in UNITS.values() if sum(units) == count), None)
        if units is None:
            raise InputError(
                f"{embedder} is no AdaFace of 50 or 101 layers (it has {count} units); see --weights-help."
            )
        network = load_metric_network(AdaFace(units), embedder, ("head.",), prefix="model.").to(device)
        return cls(onnx_network(detector, FACE_DETECTOR.source), adaface_embedder(network, device), "faces_adaface")

    def prepare(self, frame: np.ndarray) -> np.ndarray:
        """Embed the frame here, so that only vectors are held in memory."""
        points = self.landmarks(frame)
        if points is None:
            return np.full(DIMENSIONS, np.nan, np.float32)
        vector = self.embed(_blob(aligned(frame, points), 127.5))[0][0].astype(np.float32)
        return vector / max(float(np.linalg.norm(vector)), 1e-12)

    def extract(self, prepared: np.ndarray) -> np.ndarray:
        return prepared

    def landmarks(self, frame: np.ndarray) -> np.ndarray | None:
        """Return eyes, nose and mouth corners of the most confident face, float64 [5, 2] in pixels, or None."""
        height, width = frame.shape[:2]
        scale = DETECTOR_SIZE / max(height, width)
        small = cv2.resize(frame, (max(1, round(width * scale)), max(1, round(height * scale))))
        square = np.zeros((DETECTOR_SIZE, DETECTOR_SIZE, 3), np.uint8)
        square[: small.shape[0], : small.shape[1]] = small
        found = most_confident(self.detect(_blob(square, 128.0)))
        return None if found is None else found * (width / small.shape[1], height / small.shape[0])


def adaface_embedder(network: AdaFace, device: torch.device) -> Network:
    """Return a function like that of ArcFace's file; AdaFace takes blue first."""

    @torch.inference_mode()
    def embed(blob: np.ndarray) -> list[np.ndarray]:
        return [network(torch.from_numpy(np.ascontiguousarray(blob[:, ::-1])).to(device)).cpu().numpy()]

    return embed


def _blob(picture: np.ndarray, scale: float) -> np.ndarray:
    return ((picture.astype(np.float32) - 127.5) / scale).transpose(2, 0, 1)[None]


def most_confident(outputs: list[np.ndarray]) -> np.ndarray | None:
    """Return the points [5, 2] of the face with the highest score, in pixels of the detector's input, or None.

    outputs: scores [n, 1] at each stride, then boxes [n, 4], then points [n, 10] as distances in strides;
    n = ANCHORS x positions, row by row.
    """
    best, points = THRESHOLD, None
    for stride, scores, offsets in zip(STRIDES, outputs[:3], outputs[6:9]):
        scores, offsets = scores.reshape(-1), offsets.reshape(-1, 5, 2)
        index = int(scores.argmax())
        if scores[index] >= best:
            best = scores[index]
            row, column = divmod(index // ANCHORS, DETECTOR_SIZE // stride)
            points = (np.array([column, row]) + offsets[index].astype(float)) * stride
    return points


def aligned(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the face rotated, scaled and moved to fit TEMPLATE (least squares): uint8 [112, 112, 3]."""
    # In complex numbers a similarity transform is z -> a z + b, so the fit is linear.
    z, w = (p[:, 0] + 1j * p[:, 1] for p in (points, TEMPLATE))
    a, b = np.linalg.lstsq(np.stack([z, np.ones(5)], axis=1), w, rcond=None)[0]
    matrix = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
    return cv2.warpAffine(frame, matrix, (EMBEDDER_SIZE, EMBEDDER_SIZE))


def face_scores(made: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Compare embeddings [F, 512] frame by frame.

    Returns face_cos, their cosine, NaN if either face was not found; and face_found, 1 if the generated face was, else
    0, NaN if the true one was not.
    """
    exists = np.isfinite(true).all(axis=1)
    found = np.isfinite(made).all(axis=1).astype(float)
    return {"face_cos": (made * true).sum(axis=1).astype(float), "face_found": np.where(exists, found, np.nan)}
