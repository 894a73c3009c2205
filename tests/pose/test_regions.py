"""Regions of a picture and the decoding of detection networks."""

import math

import numpy as np
import pytest

from magicdance_core.pose.detectors.regions import (
    RIGHT,
    UP,
    Region,
    grown,
    region_around,
    rotation,
    turn,
    whole_picture,
)  # fmt: skip
from magicdance_core.pose.detectors.ssd import anchors, decode, overlaps, suppress


def ramp(width, height):
    """A picture whose red is x and whose green is y, at pixel centres, times 2."""
    y, x = np.mgrid[:height, :width]
    return np.stack([2 * x, 2 * y, 0 * x], axis=-1).astype(np.uint8)


def test_a_region_of_the_pictures_size_is_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(Region(16, 16, 32).crop(picture, 32, False), picture)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.5])
@pytest.mark.parametrize("side", [16.0, 40.0, 90.0])  # enlarged, about as it is, shrunk
def test_crop_and_back_are_inverse(angle, side):
    region = Region(60, 50, side, angle)
    crop = region.crop(ramp(120, 100), 32, True).astype(float)
    for u, v in ((16, 16), (9, 20), (22, 12)):
        x, y = region.to_picture(np.array([(u + 0.5) / 32, (v + 0.5) / 32]))
        assert crop[v, u, :2] / 2 + 0.5 == pytest.approx([x, y], abs=0.8)


def test_borders_are_black_or_repeated():
    picture = np.full((20, 40, 3), 200, np.uint8)
    black, repeated = (whole_picture(40, 20).crop(picture, 40, how) for how in (False, True))
    assert black[:9].max() == 0 and black[11:29].min() == 200 and (repeated == 200).all()


def test_a_picture_much_smaller_than_the_region_is_shrunk_to_a_pixel_at_least():
    crop = Region(2, 2, 4000).crop(np.full((4, 4, 3), 255, np.uint8), 64, False)
    assert crop.shape == (64, 64, 3)


def test_turn_gives_the_angle_at_which_a_line_is_upright_or_level():
    assert turn((0, 0), (0, -5), UP) == pytest.approx(0)
    assert turn((0, 0), (5, 0), UP) == pytest.approx(math.pi / 2)
    assert turn((0, 0), (5, 5), RIGHT) == pytest.approx(math.pi / 4)
    assert turn((0, 0), (0, 5), UP) == pytest.approx(-math.pi)
    a, b = np.array([3.0, 4.0]), np.array([8.0, -2.0])
    along = (b - a) @ rotation(turn(a, b, UP))
    assert along[0] == pytest.approx(0, abs=1e-9) and along[1] < 0


def test_a_grown_box_is_moved_along_its_own_axis():
    assert grown(np.array([10, 20]), np.array([4, 8]), 0, 2, -0.5) == Region(10, 16, 16, 0)
    region = grown(np.array([10, 20]), np.array([4, 8]), math.pi / 2, 2, -0.5)
    assert (region.x, region.y) == pytest.approx((14, 20))


def test_region_around_points_is_their_turned_box():
    box = np.array([[-4.0, -1], [4, -1], [4, 1], [-4, 1]])
    region = region_around(box @ rotation(0.6).T + [50, 40], 0.6, 1.5)
    assert (region.x, region.y, region.side, region.angle) == pytest.approx((50, 40, 12, 0.6))


@pytest.mark.parametrize(
    "region, usable",
    [
        (Region(50, 50, 8), True),
        (Region(50, 50, 7.9), False),
        (Region(50, 50, 1000), True),
        (Region(50, 50, 1001), False),
        (Region(math.nan, 50, 50), False),
        (Region(50, 50, 50, math.inf), False),
        (Region(1e9, 50, 50), False),
    ],
)
def test_degenerate_regions_are_not_usable(region, usable):
    assert region.usable(100, 60) is usable


def test_anchors_are_cell_centres_grid_by_grid():
    person = anchors(((28, 2), (14, 2), (7, 6)))
    assert len(person) == 2254 and len(anchors(((24, 2), (12, 6)))) == 2016 and len(anchors(((16, 2), (8, 6)))) == 896
    assert person[0] == pytest.approx([0.017857] * 2, abs=1e-6) == person[1]
    assert person[2] == pytest.approx([0.053571, 0.017857], abs=1e-6) and person[-1] == pytest.approx([0.928571] * 2)


def test_boxes_and_keypoints_are_relative_to_their_anchors():
    at = anchors(((2, 1),))
    boxes, logits = np.zeros((1, 4, 6), np.float32), np.full((1, 4, 1), -9.0, np.float32)
    boxes[0, 3] = [10, -20, 40, 20, 5, 5]
    logits[0, 3] = 2
    (found,) = decode(boxes, logits, at, 100, 0.5)
    assert found.score == pytest.approx(1 / (1 + math.exp(-2)))
    assert found.box == pytest.approx(np.array([[0.65, 0.45], [1.05, 0.65]]))
    assert found.keypoints == pytest.approx(np.array([[0.8, 0.8]]))
    assert decode(boxes, logits, at, 100, 0.9) == []
    placed = found.in_picture(Region(50, 40, 200))
    assert placed.box[0] == pytest.approx([80, 30]) and placed.size == pytest.approx([80, 40])


def test_overlapping_boxes_are_averaged_by_score_and_others_stay():
    boxes = np.array([[[0, 0], [10, 10]], [[2, 0], [12, 10]], [[50, 50], [60, 60]]], float)
    keypoints = np.array([[[0, 0]], [[4, 8]], [[50, 50]]], float)
    first, second = suppress(np.array([0.6, 0.9, 0.7]), boxes, keypoints)
    assert first.score == 0.9 and first.box == pytest.approx(np.array([[1.2, 0], [11.2, 10]]))
    assert first.keypoints == pytest.approx(np.array([[2.4, 4.8]]))
    assert second.score == 0.7 and second.box.tolist() == [[50, 50], [60, 60]]
    assert overlaps(boxes[0], boxes) == pytest.approx([1, 80 / 120, 0])
