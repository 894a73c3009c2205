"""Given pictures stay outside of a mask: character replacement, or another place to dance in."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .grain import with_grain
from .images import to_images
from .regions import check_mask


@dataclass(frozen=True)
class Background:
    """Pictures that frames show outside of a mask.

    pictures: one for each frame or one for all, as PIL images or float tensors `[3, H, W]` in [0, 1] of the frames'
    size, read when they are needed; a shorter sequence holds its last picture. mask: float `[H, W]` or `[1 or F, H, W]`
    in [0, 1], or a function of a frame's number that returns the former: 1 where frames are sampled, 0 where the
    pictures stay to the bit, blended in between. grain: whether what is sampled gets as much noise as the pictures
    have, see `grain.with_grain`; nothing changes where they have none.

    Outside of the mask the latents are those of the pictures, noised as each step expects (Lugmayr et al., RePaint,
    arXiv 2201.09865), so that what is sampled fits in.
    """

    pictures: Iterable
    mask: Tensor | Callable[[int], Tensor]
    grain: bool = True


class FrameBackground:
    """A checked background during one run. size: height and width of a frame."""

    def __init__(self, background: Background, frames: int, size: tuple[int, int], factor: int):
        """factor: side of a frame divided by that of its latent. Raises InputError for what cannot be used."""
        self._mask: Tensor | Callable[[int], Tensor] = background.mask
        if not callable(background.mask):
            self._mask = check_mask(background.mask, "The background's mask", frames, size, factor)[:, None]
        self._size, self._factor, self._frames, self._grain = size, factor, frames, background.grain
        self._source = iter(background.pictures)
        self._read, self._first, self._waiting = 0, 0, dict[int, Tensor]()
        self._last: Tensor | None = None
        self._next()  # a picture that cannot be used is refused before anything runs

    def skip(self, first: int) -> None:
        """Keep no pictures of the frames before `first`, which a resumed run has blended already."""
        self._first = first
        self._waiting = {number: picture for number, picture in self._waiting.items() if number >= first}

    def pictures(self) -> Iterator[Tensor]:
        """Yield the pictures, `[1, 3, H, W]`; they are kept until `blend` has used them."""
        for number in range(self._frames):
            yield self._get(number)

    def latent_mask(self, frames: tuple[int, ...]) -> Tensor:
        """Return where frames are sampled, bool `[1 or n, 1, h, w]`: every latent pixel that the mask touches."""
        return torch.cat([self._small_mask(frame) for frame in frames]) > 0

    def outside(self) -> Tensor:
        """Return how much of each latent pixel shows the pictures, `[1 or F, 1, h, w]` in [0, 1].

        It reaches a latent pixel into the mask, whose margin people hardly fill.
        """
        count = self._frames if callable(self._mask) else len(self._mask)
        shown = 1 - torch.cat([self._small_mask(frame) for frame in range(count)])
        return torch.maximum(shown, F.avg_pool2d(shown, 3, 1, 1, count_include_pad=False))

    def blend(self, frames: tuple[int, ...], made: Tensor) -> Tensor:
        """Return decoded frames `[n, 3, H, W]` with the pictures outside of the mask; to be called in order."""
        rows = []
        for number, frame in zip(frames, made.split(1)):
            mask = self._mask_of(number)
            mask = F.interpolate(mask, self._size, mode="bilinear") if mask.shape[-2:] != self._size else mask
            picture = self._get(number)
            frame = with_grain(frame, picture, mask, number) if self._grain else frame
            rows.append(torch.where(mask == 1, frame, torch.lerp(picture, frame, mask)))
            self._waiting = {kept: value for kept, value in self._waiting.items() if kept > number}
        return torch.cat(rows)

    def _small_mask(self, number: int) -> Tensor:
        small = [side // self._factor for side in self._size]
        return F.interpolate(self._mask_of(number), small, mode="area")

    def _mask_of(self, number: int) -> Tensor:
        """Return the mask of a frame, `[1, 1, H, W]`."""
        if callable(self._mask):
            return self._mask(number)[None, None]
        return self._mask if len(self._mask) == 1 else self._mask[[number]]

    def _get(self, number: int) -> Tensor:
        while self._read <= number:
            self._next()
        return self._waiting[number] if number >= self._first else torch.empty(0)

    def _next(self) -> None:
        picture = next(self._source, None)
        if picture is not None:
            self._last = to_images(picture, "The background", 1)[:1]
            if tuple(self._last.shape[-2:]) != self._size:
                (height, width), (wanted_height, wanted_width) = self._last.shape[-2:], self._size
                raise InputError(
                    f"The background has {width} x {height} pixels and the frames have {wanted_width} x "
                    f"{wanted_height}: resize it."
                )
        if self._last is None:
            raise InputError("The background has no picture: give one for all frames or one for each.")
        if self._read >= self._first:
            self._waiting[self._read] = self._last
        self._read += 1
