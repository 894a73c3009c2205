"""Several references in one picture: each acts where its mask is, in one pass of the UNet."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import check_type
from ..errors import InputError
from ..models import ReferenceSource
from .hints import Hints
from .images import check_range, to_images
from .reference import EncodedReference

APART = 2 / 3
"""Part of the steps, from the first, in which people with pose maps of their own are predicted one by one."""


@dataclass(frozen=True)
class Region:
    """A reference and the part of the frames in which it acts.

    reference: as `MagicDancePipeline.__call__` takes it. mask: float `[H, W]` or `[1 or F, H, W]` in [0, 1], in the
    size of the frames or of their latents, 1 where the reference acts; None for the rest, which no other region has.
    Where masks overlap they share, in proportion; without a region for the rest, the first one gets it.
    reference_mask: likewise of the reference's pictures, `[H', W']` or `[1 or R, H', W']`: what of them acts, for
    instance the person without the background; None for all.
    poses: pose maps of this person alone, by the number of the frame: a sequence, a tensor `[F, 3, H, W]` in [0, 1], or
    a function that returns one map. If every region has them, people are predicted one by one while the layout forms
    (the first APART of the steps), so that neighbours do not mix; each costs a pass of the UNet then.
    """

    reference: Any
    mask: Tensor | None = None
    reference_mask: Tensor | None = None
    poses: Sequence | Tensor | Callable[[int], Any] | None = None


@dataclass(frozen=True)
class EncodedRegions:
    """Encoded references, and the weight of each at every pixel of the frames' latents.

    weights: `[1 or F, P, h, w]`, float32, on the CPU; they add up to 1. reference_masks: weights of the pixels of each
    reference's latents, `[R, 1, h', w']`, None for all alike. hints: of each person alone, to predict people one by
    one; empty to predict them together.
    """

    references: tuple[EncodedReference, ...]
    weights: Tensor
    reference_masks: tuple[Tensor | None, ...]
    hints: tuple[Hints, ...] = ()

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

    def alone(self, sources: Sequence[ReferenceSource], downscaling: Mapping[str, int]) -> tuple[ReferenceSource, ...]:
        """Return the source of each reference, where it acts everywhere. downscaling: see `token_weights`."""
        return tuple(self._alone(number, source, downscaling) for number, source in enumerate(sources))

    def _alone(self, number: int, source: ReferenceSource, downscaling: Mapping[str, int]) -> ReferenceSource:
        if self.reference_masks[number] is None:
            return source
        like = next(iter(source.keys.values()))
        one = replace(self, references=(self.references[number],), reference_masks=(self.reference_masks[number],))
        counts: dict[str, tuple[int, ...]] = {name: (keys.shape[1],) for name, keys in source.keys.items()}
        source = replace(source, counts=counts, token_weights=one.token_weights(downscaling, like))
        return source.weighted(like.new_ones(1, 1, *self.weights.shape[-2:]), downscaling)


@dataclass(frozen=True)
class CheckedRegions:
    """Checked regions that wait for the VAE. references: `[R, 3, H, W]` in [0, 1], or encoded. maps: returns a pose map
    `[1, 3, H, W]` of each person alone by the number of the frame; empty without them. Others: see above."""

    references: tuple[Tensor | EncodedReference, ...]
    weights: Tensor
    reference_masks: tuple[Tensor | None, ...]
    maps: tuple[Callable[[int], Tensor], ...] = ()

    def pose_maps(self, frames: int) -> list[Iterator[Tensor]]:
        """Return iterators over the pose maps of each person alone."""
        return [map(one, range(frames)) for one in self.maps]


def check_regions(
    regions: Sequence[Region], frames: int, size: Sequence[int], factor: int, outside: Tensor | None = None
) -> CheckedRegions:
    """Return the pictures and weights of regions.

    frames: of the run. size: height and width of a frame. factor: side of a frame divided by that of its latent.
    outside: where the frames show a background, `[1 or F, 1, h, w]` in [0, 1]; there the region for the rest shares, so
    that what surrounds people is not made up from their references.
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
    if outside is not None and open_regions:
        everywhere = (1 - weights.sum(dim=1, keepdim=True)).clamp(min=0)
        shared = torch.maximum(everywhere, outside)
        weights = weights.repeat(len(shared) // len(weights), 1, 1, 1)
        weights[:, [rest]] = shared
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    weights[:, rest] = (1 - (weights.sum(dim=1) - weights[:, rest])).clamp(min=0)
    references = tuple(_reference(region.reference, number, factor) for number, region in enumerate(regions))
    masks_of_references = tuple(
        _reference_mask(region.reference_mask, number, reference, factor)
        for number, (region, reference) in enumerate(zip(regions, references))
    )
    maps: tuple[Callable[[int], Tensor], ...] = ()
    if all(region.poses is not None for region in regions):
        maps = tuple(_maps(region.poses, number, frames, tuple(size)) for number, region in enumerate(regions))
    return CheckedRegions(references, weights, masks_of_references, maps)


def with_poses(regions: Sequence[Region], poses: Callable[[int], Tensor]) -> list[Region]:
    """Return regions with pose maps of their own: what the run's maps show in the region.

    poses: returns a map of everybody, `[1, 3, H, W]` in [0, 1], by the number of the frame. The mask of at most one
    region is None.
    """

    def within(mask: Tensor, number: int, size: Sequence[int]) -> Tensor:
        part = mask if mask.dim() == 2 else mask[number if len(mask) > 1 else 0]
        return F.interpolate(part[None, None].float(), tuple(size), mode="bilinear")

    def one(region: Region, number: int) -> Tensor:
        shown = poses(number)
        size = shown.shape[-2:]
        if region.mask is not None:
            return shown * within(region.mask, number, size)
        others = sum(within(other.mask, number, size) for other in regions if other.mask is not None)
        return shown * (1 - torch.as_tensor(others)).clamp(min=0)

    return [replace(region, poses=partial(one, region)) for region in regions]


def _maps(poses: Any, number: int, frames: int, size: tuple[int, ...]) -> Callable[[int], Tensor]:
    what = f"The pose map of region {number + 1}"
    if not callable(poses) and len(poses) != frames:
        raise InputError(f"Region {number + 1} has {len(poses)} pose maps for {frames} frames: give one for each.")
    read = poses if callable(poses) else poses.__getitem__

    def one(frame: int) -> Tensor:
        made = to_images(read(frame), what, 1)[:1]
        if tuple(made.shape[-2:]) != size:
            raise InputError(
                f"{what} is {made.shape[-1]} x {made.shape[-2]} pixels and the frames are {size[1]} x {size[0]}: "
                "give maps of their size."
            )
        return made

    one(0)  # a map that cannot be used is refused before anything runs
    return one


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
