"""Conversion of pictures between what users pass, tensors, and PIL images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError

OUTPUT_TYPES = ("pil", "pt", "np", "latent")
ROUNDING = 1e-3  # tolerance for values that resizing and float16 move out of [0, 1]


def to_images(images: object, what: str, multiple: int) -> Tensor:
    """Return one or several pictures of one size as `[N, 3, H, W]`, float32 in [0, 1], on the CPU.

    images: PIL image of any mode (grey becomes RGB, alpha is dropped, as published), float tensor `[3, H, W]` or
    `[N, 3, H, W]` in [0, 1], or a list of such PIL images. what: their name in messages.
    multiple: both sides must be multiples of it.
    Raises InputError for anything else: no image, wrong channels, range or size, NaN.
    """
    if isinstance(images, Tensor):
        tensor = _check_tensor(images, what)
    else:
        tensor = _from_pil(images if isinstance(images, (list, tuple)) else [images], what)
    height, width = tensor.shape[-2:]
    if height % multiple or width % multiple:
        raise InputError(
            f"{what} is {width} x {height} pixels, but both sides must be multiples of {multiple}: resize it to "
            f"{_nearest(width, multiple)} x {_nearest(height, multiple)}."
        )
    return tensor


def to_pil(frames: Tensor) -> list[Image.Image]:
    """Convert frames `[F, 3, H, W]` in [0, 1] to 8-bit RGB images."""
    pixels = (frames.permute(0, 2, 3, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(frame) for frame in pixels.numpy()]


def _check_tensor(images: Tensor, what: str) -> Tensor:
    if not images.is_floating_point():
        raise InputError(f"{what} is a tensor of {images.dtype}: give floats in [0, 1].")
    if images.dim() == 3:
        images = images[None]
    if images.dim() != 4 or images.shape[1] != 3:
        raise InputError(f"{what} has the shape {list(images.shape)}: give [3, H, W] or [N, 3, H, W], RGB.")
    if len(images) == 0:
        raise InputError(f"{what} is empty: give at least one image.")
    return check_range(images, what)


def check_range(values: Tensor, what: str) -> Tensor:
    """Return values as float32 on the CPU, in [0, 1]. Raises InputError for values outside by more than rounding."""
    values = values.detach().to("cpu", torch.float32)
    if not values.isfinite().all():
        raise InputError(f"{what} contains NaN or infinite values: give floats in [0, 1].")
    low, high = values.aminmax()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(f"{what} has values from {low:.3g} to {high:.3g}: give floats in [0, 1].")
    return values.clamp(0, 1)


def _from_pil(images: Sequence, what: str) -> Tensor:
    if not images:
        raise InputError(f"{what} is empty: give at least one image.")
    for image in images:
        if not isinstance(image, Image.Image):
            raise InputError(f"{what} is a {type(image).__name__}: give PIL images or a float tensor in [0, 1].")
        if image.size != images[0].size:
            sizes = " and ".join(f"{width} x {height}" for width, height in (images[0].size, image.size))
            raise InputError(f"{what} has images of {sizes} pixels: give all the same size.")
    pixels = np.stack([np.asarray(image.convert("RGB")) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def _nearest(side: int, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
