"""Metrics against values worked out by hand, and against scikit-image where it is installed."""

import math

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.evaluation.metrics import border, grey, l1, psnr, published_l1, ssim, to_float


def flat(value, shape=(8, 8, 3)):
    return np.full(shape, value)


def test_border_by_hand():
    weight = np.tile(np.clip((np.arange(40) - 15) / 8, 0, 1), (10, 1))  # the seam: columns 16 to 22
    ramp = np.tile(np.arange(40.0) / 100, (10, 1))[..., None]
    assert border(ramp, 0 * ramp, weight) == pytest.approx(1, abs=0.02)
    step = np.where(np.arange(40) > 18, 0.7, 0.0)[None, :, None] * np.ones((10, 1, 1))
    # An even error of 0.01 a column, and in the seam a jump of 0.7 more, a seventh of it in each of its 7 columns.
    assert border(ramp + step, 0 * ramp, weight) == pytest.approx(11, abs=0.3)
    assert border(ramp + step, step, weight) == pytest.approx(1, abs=0.02)  # an edge of the truth is no seam
    far = step.copy()
    far[:, 38:] += 0.5  # as wide as the seam is the neighbourhood, and no wider
    assert border(ramp + far, 0 * ramp, weight) == border(ramp + step, 0 * ramp, weight)
    assert np.isnan(border(ramp, ramp, np.ones((10, 40))))


def test_psnr_by_hand():
    assert psnr(flat(0.5), flat(0.6)) == pytest.approx(20)
    assert psnr(flat(0.0), flat(1.0)) == 0
    half = flat(0.0)
    half[:4] = 0.1
    assert psnr(half, flat(0.0)) == pytest.approx(20 + 10 * math.log10(2))


def test_psnr_of_equal_pictures_is_finite():
    assert psnr(flat(0.3), flat(0.3)) == pytest.approx(100)


def test_psnr_does_not_wrap_around_as_the_published_one():
    black, white = (np.full((8, 8, 3), value, np.uint8) for value in (0, 255))
    assert psnr(to_float(black), to_float(white)) == 0
    assert np.square(black - white).mean() == 1  # of uint8: the published error, 48 dB


def test_psnr_of_a_mask():
    image = flat(0.0)
    image[0, 0] = 0.1
    where = np.zeros((8, 8), bool)
    assert math.isnan(psnr(image, flat(0.0), where))
    where[0, :2] = True
    assert psnr(image, flat(0.0), where) == pytest.approx(20 + 10 * math.log10(2))


def test_ssim_by_hand():
    a, b = 0.25, 0.75  # without variance only the means count
    expected = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4)
    assert ssim(flat(a), flat(b)) == pytest.approx(expected)
    # In a single window: +-d against its negative, sample covariance over 49 values.
    board = np.indices((7, 7)).sum(0)[..., None] % 2 * 2.0 - 1
    x, y = 0.5 + 0.1 * board, 0.5 - 0.1 * board
    mx, my = x.mean(), y.mean()
    cov, vx = ((x - mx) * (y - my)).sum() / 48, ((x - mx) ** 2).sum() / 48
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (2 * vx + 9e-4))
    assert ssim(x, y) == pytest.approx(expected) and expected < -0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_scikit_image(channels):
    metrics = pytest.importorskip("skimage.metrics")
    generator = np.random.default_rng(0)
    a = generator.random((31, 20, channels))
    b = np.clip(a + 0.2 * generator.standard_normal(a.shape), 0, 1)
    assert ssim(a, b) == pytest.approx(metrics.structural_similarity(a, b, channel_axis=-1, data_range=1), abs=1e-9)


def test_ssim_of_equal_and_of_tiny_pictures():
    a = np.random.default_rng(0).random((9, 9, 3))
    assert ssim(a, a) == pytest.approx(1)
    with pytest.raises(InputError, match="at least 7 x 7"):
        ssim(a[:6], a[:6])


def test_l1_and_the_published_one():
    assert l1(flat(0.25), flat(0.75)) == 0.5
    assert published_l1(flat(0.25), flat(0.75)) == pytest.approx(127.5 / 64)


def test_grey_weighs_colours():
    assert grey(np.full((2, 2, 3), (255, 0, 0), np.uint8))[0, 0, 0] == pytest.approx(76 / 255)
