"""Squares cut out between pixels, and blended back."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.media.square_crops import blend_square, cut_square

RNG = np.random.default_rng(0)
PICTURE = Image.fromarray(RNG.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)


def as_float(picture):
    return np.asarray(picture, np.float32) / 255


def test_whole_pixels_are_cut_exactly():
    cut = cut_square(PICTURE, 10, 20, 32, 32)
    assert np.array_equal(np.asarray(cut), np.asarray(PICTURE)[20:52, 10:42])


def test_beyond_the_border_the_edge_continues():
    cut = np.asarray(cut_square(PICTURE, -8, -8, 16, 16))
    assert np.array_equal(cut[8:, 8:], np.asarray(PICTURE)[:8, :8])
    assert (cut[:8, :8] == np.asarray(PICTURE)[0, 0]).all()
    below = np.asarray(cut_square(PICTURE, 80, 60, 32, 32))
    assert (below[12:, 16:] == np.asarray(PICTURE)[-1, -1]).all()


@pytest.mark.parametrize("place", [(20.0, 16.0, 40.0), (20.3, 16.7, 40.9), (-10.4, -6.2, 50.0), (60.0, 40.0, 60.5)])
def test_cut_and_blended_back_is_the_same_picture(place):
    before = as_float(PICTURE)
    after = blend_square(before, cut_square(PICTURE, *place, 160), *place)
    assert np.abs(after - before).max() < 0.06 and np.abs(after - before).mean() < 0.004
    assert np.array_equal(before, as_float(PICTURE))  # the input is not changed


def test_another_tint_is_matched_and_leaves_no_seam():
    before = np.full((64, 64, 3), 0.5, np.float32)
    tinted = Image.new("RGB", (128, 128), (160, 120, 90))
    after = blend_square(before, tinted, 16.0, 16.0, 32.0)
    assert np.abs(after - before).max() < 1 / 255
    spot = np.full((128, 128, 3), (160, 120, 90), np.uint8)
    spot[56:72, 56:72] = 20
    after = blend_square(before, Image.fromarray(spot), 16.0, 16.0, 32.0)
    wanted = np.clip(0.5 + (20 - np.array([160, 120, 90])) / 255, 0, 1)
    assert np.allclose(after[32, 32], wanted, atol=4 / 255) and np.abs(after[:22] - 0.5).max() < 1 / 255


def test_a_square_outside_changes_nothing():
    before = as_float(PICTURE)
    assert np.array_equal(blend_square(before, PICTURE, 200.0, 10.0, 20.0), before)
