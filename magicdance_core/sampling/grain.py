"""Grain of a plate on what is sampled into it, so that a new person is not smoother than the place."""

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_GRAIN, MOST_GRAIN = 1 / 255, 16 / 255  # standard deviations: less is rounding to 8 bits, more is texture
FLAT = 0.25  # share of the pixels that noise is measured in, those with the least slope: texture is elsewhere
SMOOTHED = 7  # side in pixels of the means whose slope says what is flat
LEAST_PIXELS = 256  # that noise can be measured in
NOISE_KERNEL = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
MAD = 0.6745  # median magnitude of a normal distribution with standard deviation 1


def grain_level(picture: Tensor, where: Tensor | None = None) -> Tensor:
    """Return the standard deviation of a picture's noise in R, G, B and their mean, float `[4]`; 0 if unknown.

    picture: `[1, 3, H, W]` in [0, 1]. where: bool `[1, 1, H, W]`, what is measured; all by default. The median
    magnitude of a kernel that ramps and edges along the axes do not pass (Immerkaer, "Fast noise variance estimation",
    1996), in the flattest quarter, without clipped values. A place that is textured all over is taken for noise.
    """
    values = torch.cat([picture, picture.mean(1, keepdim=True)], dim=1)
    kernel = picture.new_tensor(NOISE_KERNEL)
    passed = F.conv2d(values.movedim(1, 0), (kernel / kernel.norm())[None, None]).abs().movedim(0, 1)
    means = F.avg_pool2d(values[:, 3:], SMOOTHED, 1, SMOOTHED // 2, count_include_pad=False)
    slope = F.pad(means.diff(dim=3).abs(), (0, 1)) + F.pad(means.diff(dim=2).abs(), (0, 0, 0, 1))
    usable = (picture > 0).all(1, keepdim=True) & (picture < 1).all(1, keepdim=True)
    usable = usable if where is None else usable & where
    slope, usable = slope[..., 1:-1, 1:-1], usable[..., 1:-1, 1:-1]
    if usable.sum() < LEAST_PIXELS:
        return picture.new_zeros(4)
    flat = usable & (slope <= slope[usable].kthvalue(int(FLAT * usable.sum())).values)
    return passed[:, :, flat[0, 0]].median(dim=2).values[0] / MAD


def with_grain(made: Tensor, plate: Tensor, mask: Tensor, seed: int) -> Tensor:
    """Return a sampled frame `[1, 3, H, W]` in [0, 1] with as much noise as the plate has around it.

    plate: likewise. mask: `[1, 1, H, W]` in [0, 1], 1 where the frame is shown. seed: of this frame's noise, normal,
    with the plate's correlation between channels. A plate with less noise than LEAST_GRAIN or more than
    MOST_GRAIN changes nothing.
    """
    wanted = grain_level(plate, mask == 0)
    if not LEAST_GRAIN <= wanted[:3].max() <= MOST_GRAIN:
        return made
    present = grain_level(made, mask > 0.5)
    missing = (wanted**2 - present**2).clamp(min=0).sqrt()[:3, None, None]
    # The variance of a mean tells how alike channels are: (sum s_i^2 + r (sum^2 s_i - sum s_i^2)) / 9.
    squares, square = (wanted[:3] ** 2).sum(), wanted[:3].sum() ** 2
    shared = ((9 * wanted[3] ** 2 - squares) / (square - squares).clamp(min=1e-12)).clamp(0, 1)
    generator = torch.Generator().manual_seed(seed)
    common, own = (torch.randn(1, count, *made.shape[2:], generator=generator).to(made) for count in (1, 3))
    return (made + missing * (shared.sqrt() * common + (1 - shared).sqrt() * own)).clamp(0, 1)
