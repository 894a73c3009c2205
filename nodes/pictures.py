"""IMAGEs and VIDEOs from and to the core's pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .comfy import files, memory

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..magicdance_core.media.resampling import ResampledFrames

FPS = (
    "FLOAT",
    {
        "default": 30.0,
        "min": 1.0,
        "max": 240.0,
        "step": 1.0,
        "round": 0.001,
        "tooltip": "Poses a second that a video gives, by its own times; 30 as in the training data.",
    },
)


def to_pictures(images: Tensor, what: str) -> Tensor:
    """An IMAGE `[N, H, W, C]` of any dtype and device, with alpha or grey, to `[N, 3, H, W]` float32 on the CPU.

    what: names it in messages. Raises InputError where there is no picture.
    """
    import torch

    from ..magicdance_core.errors import InputError

    if not isinstance(images, torch.Tensor) or images.dim() != 4:
        raise InputError(f"{what} is no IMAGE: connect an output of type IMAGE.")
    if 0 in images.shape:
        raise InputError(f"{what} has no frames: connect at least one picture.")
    images = images[..., :3] if images.shape[-1] >= 3 else images[..., :1].expand(*images.shape[:-1], 3)
    images = images.to("cpu", torch.float32).movedim(-1, 1)
    if not images.isfinite().all():
        raise InputError(f"{what} contains values that are not numbers: look at the node that makes it.")
    return images.clamp(0, 1)


def to_arrays(images: Iterable[Tensor], what: str) -> Iterator[np.ndarray]:
    """The pictures [H, W, C] of an IMAGE one by one, as uint8 [H, W, 3]. Raises InputError as `to_pictures`."""
    for image in images:
        yield (to_pictures(image[None], what)[0].movedim(0, -1) * 255).round().byte().numpy()


@contextmanager
def video_pictures(video, fps: float) -> Iterator[ResampledFrames]:
    """The pictures of a VIDEO at an even rate, read from its file one by one."""
    from ..magicdance_core.media.resampling import ResampledFrames

    with files.video_file(video) as file:
        yield ResampledFrames(file, fps)


def stretch(pictures: Tensor, width: int, height: int) -> Tensor:
    """Pictures `[N, 3, H, W]` in another size, both axes on their own; antialiased."""
    import torch.nn.functional as F

    if pictures.shape[2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def in_own_shape(pictures: Tensor, pixels: int, unit: int, what: str) -> Tensor:
    """Pictures `[N, 3, H, W]` in about as many pixels as given, in their own shape up to multiples of `unit`.

    What that crops from the middle goes to ComfyUI's log in one line; what: names the pictures there.
    """
    import numpy as np
    import torch

    from ..magicdance_core.media import describe_crop, fit, size_of_area
    from ..magicdance_core.sampling.images import to_pil

    size = pictures.shape[3], pictures.shape[2]
    shape = size_of_area(*size, pixels**0.5, unit)
    if size == shape:
        return pictures
    if taken := describe_crop(what, size, shape):
        logging.info("MagicDance: %s", taken)
    fitted = np.stack([np.asarray(fit(picture, *shape)) for picture in to_pil(pictures)])
    return torch.from_numpy(fitted).movedim(-1, 1).float() / 255


def to_image(pictures: list) -> Tensor:
    """RGB pictures of one size (PIL or uint8 arrays) to an IMAGE `[N, H, W, 3]` in [0, 1]."""
    import numpy as np
    import torch

    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return memory.output(stacked.float().div_(255))
