"""Faces detected, aligned and embedded, with networks whose outputs are known."""

import cv2
import numpy as np
import pytest
from onnx_networks import write_network

from magicdance_core.evaluation.face_similarity import (
    ANCHORS,
    DETECTOR_SIZE,
    EMBEDDER_SIZE,
    STRIDES,
    TEMPLATE,
    FaceExtractor,
    aligned,
    face_scores,
    most_confident,
)

POINTS = np.array([(200, 150), (260, 150), (230, 190), (208, 220), (252, 220)], float)


def outputs(points=POINTS, score=0.9, stride=16, weaker=0.6):
    """Return SCRFD's outputs for one face, and for a less confident one elsewhere."""
    places = [ANCHORS * (DETECTOR_SIZE // s) ** 2 for s in STRIDES]
    scores, boxes, offsets = ([np.zeros((n, width), np.float32) for n in places] for width in (1, 4, 10))
    level, side = STRIDES.index(stride), DETECTOR_SIZE // stride
    column, row = (points.mean(axis=0) // stride).astype(int)
    index = ANCHORS * (row * side + column) + 1
    scores[level][index], scores[0][7] = score, weaker
    offsets[level][index] = ((points - np.array([column, row]) * stride) / stride).ravel()
    return [*scores, *boxes, *offsets]


def test_most_confident_face_is_found():
    assert most_confident(outputs()) == pytest.approx(POINTS, abs=1e-3)
    assert most_confident(outputs(stride=32)) == pytest.approx(POINTS, abs=1e-3)
    assert most_confident(outputs(weaker=0.95)) != pytest.approx(POINTS, abs=1)
    assert most_confident(outputs(score=0.4, weaker=0.4)) is None


def test_points_are_in_pixels_of_the_frame():
    extractor = FaceExtractor(lambda pixels: outputs(), lambda pixels: [np.ones((1, 512), np.float32)])
    assert extractor.landmarks(np.zeros((320, 160, 3), np.uint8)) == pytest.approx(POINTS / 2, abs=1e-3)


def test_alignment_puts_the_points_on_the_template():
    turn = 3 * np.exp(0.4j)
    moved = TEMPLATE[:, 0] * turn + 1j * TEMPLATE[:, 1] * turn + (60 + 90j)
    points = np.stack([moved.real, moved.imag], axis=1)
    frame = np.zeros((600, 600, 3), np.uint8)
    for x, y in points:
        cv2.circle(frame, (round(x), round(y)), 6, (255, 255, 255), -1)
    face = aligned(frame, points)
    assert face.shape == (EMBEDDER_SIZE, EMBEDDER_SIZE, 3)
    for x, y in TEMPLATE.round().astype(int):
        assert face[y, x].min() > 200
    assert (face.max(axis=-1) > 128).mean() < 0.02


def test_cosine_and_share_of_faces_found():
    one, other = np.eye(512, dtype=np.float32)[:2]
    lost = np.full(512, np.nan, np.float32)
    scores = face_scores(
        np.stack([one, other, lost, one, (one + other) / 2**0.5]), np.stack([one, one, one, lost, one])
    )
    assert scores["face_cos"] == pytest.approx([1, 0, np.nan, np.nan, 0.5**0.5], nan_ok=True)
    assert scores["face_found"] == pytest.approx([1, 1, 0, np.nan, 1], nan_ok=True)


def test_through_onnxruntime(tmp_path):
    pytest.importorskip("onnxruntime")
    write_network(tmp_path / "find.onnx", [1, 3, DETECTOR_SIZE, DETECTOR_SIZE], *outputs())
    write_network(tmp_path / "read.onnx", [1, 3, EMBEDDER_SIZE, EMBEDDER_SIZE], np.full((1, 512), 3, np.float32))
    vector = FaceExtractor.from_files(tmp_path / "find.onnx", tmp_path / "read.onnx").prepare(
        np.zeros((64, 64, 3), np.uint8)
    )
    assert vector == pytest.approx(np.full(512, 512**-0.5))
