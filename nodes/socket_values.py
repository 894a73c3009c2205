"""Values of sockets: check what arrives, convert it to the core's tensors, and convert pictures back to IMAGE."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, overload

from .comfy import memory, user_files

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ..magicdance_core.media.resampling import ResampledFrames

MAX_REFERENCES = 32  # each one is read at every step, and every frame attends to all of them


def to_pictures(images: Tensor, name: str) -> Tensor:
    """Return an IMAGE `[N, H, W, C]` of any dtype and device as `[N, 3, H, W]` float32 in [0, 1] on the CPU.

    An alpha channel is dropped, grey is repeated. name: of the input, for messages.
    Raises InputError if the value is no IMAGE, has no picture, or has values that are not finite.
    """
    import torch

    from ..magicdance_core.errors import InputError

    if not isinstance(images, torch.Tensor) or images.dim() != 4:
        raise InputError(f"`{name}` is not an IMAGE: connect an output of type IMAGE.")
    if 0 in images.shape:
        raise InputError(f"`{name}` has no pictures: connect at least one.")
    images = images[..., :3] if images.shape[-1] >= 3 else images[..., :1].expand(*images.shape[:-1], 3)
    return _finite(images.to("cpu", torch.float32).movedim(-1, 1), name).clamp(0, 1)


def on_white(reference: Tensor, mask: Tensor) -> Tensor:
    """Return the pictures of an IMAGE, `[N, H, W, 3]`, with white where a MASK is 1, as for transparent pictures.

    Load Image gives an empty mask of another size for a picture without transparency: it changes nothing.
    Raises InputError if the value is no MASK, or another one of another size or number.
    """
    import torch

    from ..magicdance_core.errors import InputError

    if not isinstance(mask, torch.Tensor) or mask.dim() not in (2, 3) or 0 in mask.shape:
        raise InputError("`reference_mask` is not a MASK: connect the mask of Load Image.")
    pictures = to_pictures(reference, "reference")
    mask = _finite(mask.to("cpu", torch.float32).reshape(-1, 1, *mask.shape[-2:]), "reference_mask").clamp(0, 1)
    if not mask.any():
        return pictures.movedim(1, -1)
    if mask.shape[-2:] != pictures.shape[-2:] or len(mask) not in (1, len(pictures)):
        sizes = [f"{len(part)} of {part.shape[-1]} x {part.shape[-2]}" for part in (mask, pictures)]
        raise InputError(
            f"`reference_mask` has {sizes[0]} pixels and `reference` {sizes[1]}: connect both of one node."
        )
    return (pictures * (1 - mask) + mask).movedim(1, -1)


def to_arrays(images: Iterable[Tensor], name: str) -> Iterator[np.ndarray]:
    """Yield the pictures of an IMAGE one by one as uint8 `[H, W, 3]`. Raises InputError as `to_pictures` does."""
    for image in images:
        yield (to_pictures(image[None], name)[0].movedim(0, -1) * 255).round().byte().numpy()


@contextmanager
def video_pictures(video, fps: float) -> Iterator[ResampledFrames]:
    """Open a VIDEO and yield its pictures at an even frame rate, read from the file one by one."""
    from ..magicdance_core.media.resampling import ResampledFrames

    with user_files.video_file(video) as file:
        yield ResampledFrames(file, fps)


def video_audio(video) -> dict | None:
    """Return the sound of a VIDEO as AUDIO, read from its file; None if it has none."""
    import torch

    from ..magicdance_core.media.audio import read_audio

    with user_files.video_file(video) as file:
        sound = read_audio(file)
    return None if sound is None else {"waveform": torch.from_numpy(sound[0])[None], "sample_rate": sound[1]}


def to_sound(audio: Mapping, name: str) -> tuple[np.ndarray, int]:
    """Return an AUDIO as float32 `[1 or 2, samples]` and its rate. Raises InputError if it is no AUDIO."""
    import torch

    from ..magicdance_core.errors import InputError

    waveform, rate = (audio.get(key) if isinstance(audio, Mapping) else None for key in ("waveform", "sample_rate"))
    if not isinstance(waveform, torch.Tensor) or waveform.dim() != 3 or not isinstance(rate, int) or rate < 1:
        raise InputError(f"`{name}` is not an AUDIO: connect an output of type AUDIO.")
    if 0 in waveform.shape:
        raise InputError(f"`{name}` has no sound: disconnect it.")
    return _finite(waveform[0, :2].to("cpu", torch.float32), name).numpy(), rate


def stretch(pictures: Tensor, width: int, height: int) -> Tensor:
    """Return pictures `[N, 3, H, W]` resized to `height` x `width`, antialiased, without keeping the aspect ratio."""
    import torch.nn.functional as F

    if pictures.shape[2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def in_own_shape(pictures: Tensor, pixels: int, unit: int, name: str) -> Tensor:
    """Return pictures `[N, 3, H, W]` resized to about `pixels` pixels in their own aspect ratio.

    Sides become multiples of `unit`; what this crops is logged in one line that has `name` in it.
    """
    import numpy as np
    import torch

    from ..magicdance_core.media import describe_crop, fit, size_of_area
    from ..magicdance_core.sampling.images import to_pil

    size = pictures.shape[3], pictures.shape[2]
    shape = size_of_area(*size, pixels**0.5, unit)
    if size == shape:
        return pictures
    if taken := describe_crop(name, size, shape):
        logging.info("MagicDance: %s", taken)
    fitted = np.stack([np.asarray(fit(picture, *shape)) for picture in to_pil(pictures)])
    return torch.from_numpy(fitted).movedim(-1, 1).float() / 255


def to_image(pictures: list) -> Tensor:
    """Return RGB pictures of one size (PIL images or uint8 arrays) as an IMAGE `[N, H, W, 3]` in [0, 1]."""
    import numpy as np
    import torch

    stacked = torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]))
    return memory.output(stacked.float().div_(255))


def to_latents(latent: dict, name: str) -> Tensor:
    """Return the samples of a LATENT, `[R, 4, h, w]`, float32 on the CPU.

    Raises InputError if they are not latents of Stable Diffusion 1.5, or more than `MAX_REFERENCES`.
    """
    import torch

    from ..magicdance_core.errors import InputError

    samples = latent.get("samples") if isinstance(latent, dict) else None
    if not isinstance(samples, torch.Tensor) or samples.dim() != 4 or samples.shape[1] != 4 or 0 in samples.shape:
        raise InputError(
            f"`{name}` is not a LATENT with the 4 channels of Stable Diffusion 1.5: encode the picture with that VAE."
        )
    check_reference_count(len(samples), name)
    return _finite(samples.to("cpu", torch.float32), name)


@overload
def to_mask(mask: Tensor, name: str) -> Tensor: ...
@overload
def to_mask(mask: None, name: str) -> None: ...
def to_mask(mask: Tensor | None, name: str) -> Tensor | None:
    """Return a MASK as `[1 or F, H, W]` in [0, 1], float32 on the CPU. Raises InputError if it is no MASK."""
    import torch

    from ..magicdance_core.errors import InputError

    if mask is None:
        return None
    if mask.dim() not in (2, 3) or 0 in mask.shape:
        raise InputError(f"`{name}` is not a MASK: connect an output of type MASK.")
    return _finite(mask.to("cpu", torch.float32).reshape(-1, *mask.shape[-2:]).clamp(0, 1), name)


def to_embeddings(conditioning: list, width: int, name: str) -> Tensor:
    """Return the embeddings `[1, n, width]` of a CONDITIONING.

    Raises InputError if it holds several prompts, or embeddings of another width.
    """
    import torch

    from ..magicdance_core.errors import InputError

    if not all(
        isinstance(prompt, (list, tuple)) and prompt and isinstance(prompt[0], torch.Tensor) for prompt in conditioning
    ):
        raise InputError(f"`{name}` is not a CONDITIONING: connect the output of CLIP Text Encode.")
    if len(conditioning) != 1:
        raise InputError(f"`{name}` holds {len(conditioning)} prompts: join them with Conditioning (Concat).")
    embeddings = conditioning[0][0]
    if embeddings.dim() != 3 or 0 in embeddings.shape or embeddings.shape[-1] != width:
        raise InputError(f"`{name}` was encoded with another model's CLIP: use the CLIP of Stable Diffusion 1.5.")
    return _finite(embeddings[:1], name)


def check_reference_count(count: int, name: str) -> None:
    """Raise InputError if an input has more than `MAX_REFERENCES` pictures."""
    from ..magicdance_core.errors import InputError

    if count > MAX_REFERENCES:
        raise InputError(f"`{name}` holds {count} pictures: connect 1 to {MAX_REFERENCES} pictures of one person.")


def _finite(values: Tensor, name: str) -> Tensor:
    from ..magicdance_core.errors import InputError

    if not values.isfinite().all():
        raise InputError(f"`{name}` contains values that are not finite: check the node that makes it.")
    return values
