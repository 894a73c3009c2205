"""Several references in one picture: each acts where its mask is, in one pass of the UNet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import check_type
from ..errors import InputError
from .images import check_range, to_images
from .reference import EncodedReference


@dataclass(frozen=True)
class Region:
    """A reference and the part of the frames in which it acts.

    reference: as `MagicDancePipeline.__call__` takes it. mask: float `[H, W]` or `[1 or F, H, W]` in [0, 1], in the
    size of the frames or of their latents, 1 where the reference acts; None for the rest, which no other region has.
    Where masks overlap they share, in proportion; without a region for the rest, the first one gets it.
    reference_mask: likewise of the reference's pictures, `[H', W']` or `[1 or R, H', W']`: what of them acts, for
    instance the person without the background; None for all.
    """

    reference: Any
    mask: Tensor | None = None
    reference_mask: Tensor | None = None


@dataclass(frozen=True)
class EncodedRegions:
    """Encoded references, and the weight of each at every pixel of the frames' latents.

    weights: `[1 or F, P, h, w]`, float32, on the CPU; they add up to 1. reference_masks: weights of the pixels of each
    reference's latents, `[R, 1, h', w']`, None for all alike.
    """

    references: tuple[EncodedReference, ...]
    weights: Tensor
    reference_masks: tuple[Tensor | None, ...]

    def at(self, frames: tuple[int, ...]) -> Tensor:
        """Return the weights of some frames, `[1 or n, P, h, w]`."""
        return self.weights if len(self.weights) == 1 else self.weights[list(frames)]

    def token_weights(self, downscaling: Mapping[str, int], like: Tensor) -> dict[str, Tensor] | None:
        """Return the weight of each token of the references in each block, `[T]`; None if all are 1.

        downscaling: see `models.attention.downscaling`. like: has the device and dtype wanted.
        """
        if all(mask is None for mask in self.reference_masks):
            return None
        by_factor = {}
        for factor in set(downscaling.values()):
            parts = []
            for reference, mask in zip(self.references, self.reference_masks):
                size = [-(-side // factor) for side in reference.latents.shape[-2:]]
                shape = len(reference.latents), 1, *size
                parts.append(torch.ones(shape) if mask is None else F.interpolate(mask, size, mode="area"))
            by_factor[factor] = torch.cat([part.flatten() for part in parts]).to(like)
        return {name: by_factor[factor] for name, factor in downscaling.items()}


@dataclass(frozen=True)
class CheckedRegions:
    """Checked regions that wait for the VAE. references: `[R, 3, H, W]` in [0, 1], or encoded. Others: see above."""

    references: tuple[Tensor | EncodedReference, ...]
    weights: Tensor
    reference_masks: tuple[Tensor | None, ...]


def check_regions(regions: Sequence[Region], frames: int, size: Sequence[int], factor: int) -> CheckedRegions:
    """Return the pictures and weights of regions.

    frames: of the run. size: height and width of a frame. factor: side of a frame divided by that of its latent.
    Raises InputError for masks of another size or number, values outside [0, 1], an empty mask, and several regions
    without a mask.
    """
    masks, open_regions = [], [number for number, region in enumerate(regions) if region.mask is None]
    if len(open_regions) > 1:
        raise InputError(f"{len(open_regions)} regions have no mask: only one may stand for the rest of the frames.")
    for number, region in enumerate(regions):
        if region.mask is not None:
            masks.append(check_mask(region.mask, f"The mask of region {number + 1}", frames, size, factor))
    rest = open_regions[0] if open_regions else 0
    height, width = (side // factor for side in size)
    count = max(map(len, masks), default=1)
    small = [F.interpolate(mask[:, None], (height, width), mode="area").expand(count, -1, -1, -1) for mask in masks]
    if not open_regions:
        weights = torch.cat(small, dim=1)
    else:
        empty = torch.zeros(count, 1, height, width)
        weights = torch.cat([*small[:rest], empty, *small[rest:]], dim=1)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    weights[:, rest] = (1 - (weights.sum(dim=1) - weights[:, rest])).clamp(min=0)
    references = tuple(_reference(region.reference, number, factor) for number, region in enumerate(regions))
    masks_of_references = tuple(
        _reference_mask(region.reference_mask, number, reference, factor)
        for number, (region, reference) in enumerate(zip(regions, references))
    )
    return CheckedRegions(references, weights, masks_of_references)


def check_mask(mask: Tensor, what: str, frames: int, size: Sequence[int], factor: int) -> Tensor:
    """Return a mask as float32 `[1 or F, H, W]` on the CPU; others: see `check_regions`.

    Raises InputError for another type, size or number, values outside [0, 1], and a mask that covers nothing.
    """
    check_type(mask, what, Tensor)
    mask = mask[None] if mask.dim() == 2 else mask
    latent_size = tuple(side // factor for side in size)
    if mask.dim() != 3 or tuple(mask.shape[1:]) not in (tuple(size), latent_size):
        height, width = size
        raise InputError(f"{what} has the shape {list(mask.shape)}: give [{height}, {width}], the frames' size.")
    if len(mask) not in (1, frames):
        raise InputError(f"{what} has {len(mask)} pictures for {frames} frames: give one for all or one for each.")
    mask = check_range(mask, what)
    if not mask.any():
        raise InputError(f"{what} covers nothing: leave the region out, or give a mask that is 1 where it acts.")
    return mask


def _reference_mask(
    mask: Tensor | None, number: int, reference: Tensor | EncodedReference, factor: int
) -> Tensor | None:
    """Return the weights of the pixels of a reference's latents, `[R, 1, h, w]`."""
    if mask is None:
        return None
    if isinstance(reference, EncodedReference):
        count, size = len(reference.latents), [factor * side for side in reference.latents.shape[-2:]]
    else:
        count, size = len(reference), list(reference.shape[-2:])
    checked = check_mask(mask, f"The reference mask of region {number + 1}", count, (size[0], size[1]), factor)
    small = F.interpolate(checked[:, None], [side // factor for side in size], mode="area")
    return small.expand(count, -1, -1, -1)


def _reference(reference: object, number: int, factor: int) -> Tensor | EncodedReference:
    if isinstance(reference, EncodedReference):
        return reference
    return to_images(reference, f"The reference of region {number + 1}", factor)
