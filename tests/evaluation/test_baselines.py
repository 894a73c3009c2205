"""The warp against motions whose answer is known."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.evaluation.baselines import warp_to_pose
from magicdance_core.evaluation.metrics import psnr, to_float
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.pose.keypoints import Person, PoseFrame

SIZE = 64


def frame(points) -> PoseFrame:
    body = np.zeros((18, 3), np.float32)
    body[: len(points)] = np.c_[points, np.ones(len(points))]
    return PoseFrame((Person(body=body),), SIZE, SIZE)


def smooth_picture() -> Image.Image:
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    waves = [0.5 + 0.4 * np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 0), (0, 1), (1, 1))]
    return Image.fromarray((np.stack(waves, -1) * 255).round().astype(np.uint8))


POINTS = np.random.default_rng(0).uniform(16, 48, (18, 2))


def test_no_motion_changes_nothing():
    picture = smooth_picture()
    assert psnr(to_float(warp_to_pose(picture, frame(POINTS), frame(POINTS))), to_float(picture)) > 45


def test_pixels_follow_their_keypoints():
    picture = smooth_picture()
    moved = POINTS + np.random.default_rng(1).uniform(-3, 3, POINTS.shape)
    warped = to_float(warp_to_pose(picture, frame(POINTS), frame(moved)))
    before = to_float(picture)
    for (x0, y0), (x1, y1) in zip(POINTS.astype(int), moved.astype(int)):
        assert warped[y1, x1] == pytest.approx(before[y0, x0], abs=0.15)
    assert np.abs(warped[0] - before[0]).max() < 0.05  # the edge is held


def test_without_shared_points_the_reference_stays():
    picture = smooth_picture()
    nobody = PoseFrame((), SIZE, SIZE)
    for source, target in ((frame(POINTS), nobody), (nobody, frame(POINTS)), (frame(POINTS[:2]), frame(POINTS[:2]))):
        assert warp_to_pose(picture, source, target).tobytes() == picture.tobytes()


def test_coinciding_points_do_not_tear_the_picture():
    meeting = POINTS.copy()
    meeting[1] = meeting[0]
    assert np.isfinite(to_float(warp_to_pose(smooth_picture(), frame(POINTS), frame(meeting)))).all()


def test_small_motions_are_closer_than_the_copied_reference():
    scene = make_scene(1, range(0, 8, 4), 64)
    reference, truth = (to_float(scene.truth[i]) for i in (0, 1))
    warped = warp_to_pose(scene.truth[0], scene.keypoints[0], scene.keypoints[1])
    assert psnr(to_float(warped), truth) > psnr(reference, truth) + 1
