"""Noise of a plate: measured against what was added, and matched inside of a mask."""

import pytest
import torch

from magicdance_core.sampling import Background
from magicdance_core.sampling.background import FrameBackground
from magicdance_core.sampling.grain import LEAST_GRAIN, MOST_GRAIN, grain_level, with_grain

SIDE = 192


def plate(sigma=0.0, seed=0, channels=3):
    """A ramp with an edge, in 8 bits."""
    x, y = torch.linspace(0, 1, SIDE)[None, :], torch.linspace(0, 1, SIDE)[:, None]
    values = torch.stack([0.2 + 0.5 * x + 0 * y, 0.3 + 0.2 * y + 0 * x, 0.4 + 0.2 * x * y])[None]
    values[..., 100:, :] *= 0.7
    noise = torch.randn(1, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * sigma / 255
    return (values + noise).clamp(0, 1).mul(255).round().div(255)


def person(sigma=0.0):
    return plate(sigma, seed=5).flip(3) * 0.5 + 0.2


MASK = torch.zeros(1, 1, SIDE, SIDE)
MASK[..., 40:150, 60:140] = 1
MASK[..., 40:150, 56:60] = 0.5


@pytest.mark.parametrize("sigma", [2.0, 5.0, 12.0])
def test_noise_is_measured_through_ramps_and_edges(sigma):
    level = grain_level(plate(sigma)) * 255
    assert level[:3].tolist() == pytest.approx([sigma] * 3, rel=0.08)
    assert level[3].item() == pytest.approx(sigma / 3**0.5, rel=0.08)
    assert (grain_level(plate(sigma, channels=1)) * 255).tolist() == pytest.approx([sigma] * 4, rel=0.08)
    assert grain_level(plate()).max() < 0.1 / 255
    assert grain_level(plate(sigma), MASK > 2).max() == 0  # nothing to measure


def test_texture_beside_flat_places_is_not_noise():
    place = plate(3.0)
    pattern = torch.sin(torch.arange(110.0) / 2) * torch.sin(torch.arange(SIDE) / 3.0)[:, None]
    place[..., :110] += 0.1 * torch.sign(pattern)
    assert (grain_level(place) * 255)[:3].tolist() == pytest.approx([3.0] * 3, rel=0.12)


def test_clipped_places_say_nothing():
    noisy = plate(6.0)
    noisy[..., : SIDE // 2, :] = 1.0
    assert (grain_level(noisy) * 255)[:3].tolist() == pytest.approx([6.0] * 3, rel=0.1)
    assert grain_level(torch.ones(1, 3, SIDE, SIDE)).max() == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_smooth_person_gets_the_plates_noise(channels):
    noisy, smooth = plate(6.0, channels=channels), person()
    made = with_grain(smooth, noisy, MASK, 3)
    assert (grain_level(made, MASK == 1) * 255).tolist() == pytest.approx(
        (grain_level(noisy) * 255).tolist(), rel=0.1
    )  # of the mean, too: channels are as alike as the plate's
    assert torch.equal(made, with_grain(smooth, noisy, MASK, 3)) and not torch.equal(
        made, with_grain(smooth, noisy, MASK, 4)
    )


def test_only_what_is_missing_is_added():
    noisy = plate(6.0)
    for own in (3.0, 9.0, 20.0):  # of the person, whose values are halved
        made = with_grain(person(own), noisy, MASK, 0)
        level = float((grain_level(made, MASK == 1) * 255)[:3].mean())
        assert level == pytest.approx(max(6.0, own / 2), rel=0.1)
    assert torch.equal(with_grain(person(20.0), noisy, MASK, 0), person(20.0))


def test_clean_plates_change_nothing_to_the_bit_and_noisy_ones_nothing_outside():
    smooth = person()
    assert LEAST_GRAIN * 255 == 1 and torch.equal(with_grain(smooth, plate(0.5), MASK, 0), smooth)
    assert MOST_GRAIN * 255 == 16 and torch.equal(with_grain(smooth, plate(20.0), MASK, 0), smooth)  # texture
    for sigma in (0.0, 6.0):
        rows = []
        for grain in (True, False):
            given = Background([plate(sigma)[0]], MASK[0], grain=grain)
            rows.append(FrameBackground(given, 1, (SIDE, SIDE), 8).blend((0,), smooth))
        assert torch.equal(*rows) == (sigma == 0)
        outside = (MASK == 0).expand_as(smooth)
        assert all(torch.equal(made[outside], plate(sigma)[outside]) for made in rows)
