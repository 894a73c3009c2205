"""Objectives of the stages: how a sample is drawn, and its loss."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, ModelMixin
from torch import Tensor

from ..data.captions import Captions
from ..data.crops import CropBox, Size, View, crop_picture, crop_regions, random_colours, random_crop, region_weights
from ..data.data_config import DataConfig
from ..data.epochs import EpochOrder
from ..data.frame_sets import FrameSet
from ..data.latent_cache import LatentCache, fixed_view, frame_size
from ..data.mixed_frames import MixedFrames
from ..data.picking import Picker
from ..data.samples import Batch, below, generator, uniform
from ..data.streaming import StreamedFrames
from ..models import Networks, apply_temporal_decoder, vae_scale_factor
from ..sampling.noise import mix_noise
from ..schedule import published_scheduler
from .config import StageConfig
from .losses import Conditioning, autoencoder_loss, decoding_loss, diffusion_loss, guided_prediction
from .rollout import CLEAN, Rollout

BANDS = 4
"""Number of equal parts of the schedule for which held-out losses are reported."""


@dataclass(frozen=True)
class LatentSpace:
    """Latent space of a VAE.

    factor: side of a picture divided by the side of its latent. channels: of latents. scaling_factor: of latents.
    """

    factor: int
    channels: int
    scaling_factor: float

    @classmethod
    def of(cls, vae: AutoencoderKL) -> "LatentSpace":
        """Return the latent space of a VAE."""
        config = vae.config
        return cls(vae_scale_factor(vae), config.latent_channels, config.scaling_factor)

    def shape(self, size: Size) -> tuple[int, int, int]:
        """Return the shape of the latent of a picture. size: its width and height."""
        return self.channels, size[1] // self.factor, size[0] // self.factor


class Objective(Protocol):
    """The objective of a stage.

    networks: names of the networks that `loss` runs. bands: number of parts of the schedule for which held-out losses
    are reported.
    """

    @property
    def networks(self) -> tuple[str, ...]: ...

    @property
    def bands(self) -> int: ...

    def sample(self, index: int) -> Batch:
        """Return sample `index` of the stage, CPU tensors without a batch axis. Called in the loader's processes.

        Everything random in it, noise and timestep included, depends on (seed, stage, index) alone.
        """
        ...

    def held_out(self, index: int) -> Batch:
        """Return a sample of the validation videos: central crop, fixed noise, no dropout, band `index % bands`."""
        ...

    def loss(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Tensor:
        """Return the loss of each sample of a batch, float32 `[n]`."""
        ...


class AutoencoderObjective:
    """Reconstruction by the VAE; a sample is `targets` pictures of a person."""

    networks, bands = ("vae",), 1

    def __init__(self, frames: FrameSet, data: DataConfig, stage: StageConfig, seed: int, space: LatentSpace):
        self.frames, self.data, self.stage, self.seed, self.space = frames, data, stage, seed, space
        self.train = Picker(frames.videos, "train", stage.targets, 0, 0, seed, order=order_of(frames, data, 1))

    def sample(self, index: int) -> Batch:
        return self._draw(self.train, index, "train", self.stage.crop)

    def held_out(self, index: int) -> Batch:
        picker = Picker(self.frames.videos, "validation", self.stage.targets, 0, 0, self.seed)
        return self._draw(picker, index, "held out", 0)

    def _draw(self, picker: Picker, index: int, part: str, crop: int) -> Batch:
        source = generator(self.seed, self.stage.name, part, index)
        pick, stage = picker(index, source), self.stage
        box = fixed_view(self.frames, self.data, self.seed, pick.video, 0).box
        size = self.data.size, self.data.size
        if part == "train" and self.data.crops != 1:
            video = self.frames.videos[pick.video]
            box = random_crop(video.width, video.height, self.data.crop, source)
        images, weights = [], []
        for number in pick.targets:
            frame = self.frames.read(pick.video, number)
            image, regions = crop_picture(frame.image, box, size), crop_regions(frame.regions, box, size)
            shown = (crop, crop) if crop else size
            if crop:
                left, top = (below(source, self.data.size - crop + 1) for _ in range(2))
                inner = CropBox(left, top, crop, crop)
                image, regions = crop_picture(image, inner, shown), crop_regions(regions, inner, shown)
            images.append(torch.from_numpy(image.copy()))
            weights.append(region_weights(regions, shown, 1, (stage.head_weight, stage.hand_weight)))
        noise = torch.randn(len(images), *self.space.shape(shown), generator=source)
        batch = {"images": torch.stack(images), "weights": torch.stack(weights), "noise": noise}
        return batch | {"video": torch.tensor(pick.video), "frames": torch.tensor(pick.targets)}

    def loss(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Tensor:
        images, weights, noise = (batch[name].flatten(0, 1) for name in ("images", "weights", "noise"))
        losses = autoencoder_loss(networks["vae"], to_unit(images) * 2 - 1, weights, noise)
        return losses.unflatten(0, batch["images"].shape[:2]).mean(1)


class DiffusionObjective:
    """Prediction of the noise (or velocity) in frames of a person, with the controls that the stage attaches."""

    bands = BANDS
    needs_pictures = False
    """True if samples hold pictures even if latents are cached."""

    def __init__(
        self,
        frames: FrameSet,
        latents: LatentCache | None,
        data: DataConfig,
        stage: StageConfig,
        seed: int,
        context: Tensor,
        prediction_type: str,
        space: LatentSpace,
        captions: Captions | None = None,
    ):
        """latents: None encodes the pictures at each step. context: the encoded empty prompt, `[1, n, C]`; captions
        replace it."""
        self.captions = captions
        self.frames, self.latents, self.data, self.stage, self.seed = frames, latents, data, stage, seed
        self.context, self.space = context, space
        self.schedule = published_scheduler(prediction_type)
        self.rollout = None
        if stage.rollout_steps:
            self.rollout = Rollout(self.schedule, stage.rollout_steps, stage.rollout_guidance)
        self.networks = ("unet", *stage.controls, *(() if latents else ("vae",)))
        self.train = Picker(
            frames.videos,
            "train",
            stage.targets,
            stage.stride,
            stage.distance,
            seed,
            stage.vary_stride,
            order_of(frames, data, stage.references),
        )

    def sample(self, index: int) -> Batch:
        stage = self.stage
        source = generator(self.seed, stage.name, "train", index)
        drops = stage.drop_reference, stage.drop_pose
        keep = torch.tensor([uniform(source) >= drop for drop in drops])
        if uniform(generator(self.seed, stage.name, "plain", index // stage.references)) < stage.plain:
            keep[:] = False
        position = uniform(source)
        if stage.timesteps == "stratified":
            position = (index % stage.references + position) / stage.references
        keep_text = not stage.drop_text or uniform(generator(self.seed, stage.name, "text", index)) >= stage.drop_text
        return self._draw(self.train, index, source, position, keep, keep_text, self._hidden(index))

    def held_out(self, index: int) -> Batch:
        stage, person = self.stage, index // self.bands
        source = generator(self.seed, "held out", person)
        picker = Picker(self.frames.videos, "validation", stage.targets, stage.stride, stage.distance, self.seed)
        position = (index % self.bands + uniform(source)) / self.bands
        return self._draw(picker, person, source, position, torch.ones(2, dtype=torch.bool))

    def _draw(
        self,
        picker: Picker,
        index: int,
        source: torch.Generator,
        position: float,
        keep: Tensor,
        keep_text: bool = True,
        hidden: Sequence[tuple[str, ...]] = (),
    ) -> Batch:
        pick, data = picker(index, source), self.data
        video, numbers = self.frames.videos[pick.video], (pick.reference, *pick.targets)
        crop = below(source, data.crops) if data.crops > 1 and video.split == "train" else 0
        views = [fixed_view(self.frames, data, self.seed, pick.video, crop)] * len(numbers)
        size = frame_size(self.frames, data, pick.video)
        draw_box = partial(random_crop, video.width, video.height, data.crop, source, size)
        if data.crops == 0 and video.split == "train":
            boxes = [draw_box()] * len(numbers) if data.shared_crop else [draw_box() for _ in numbers]
            own = generator(self.seed, self.stage.name, "view", index)
            flipped, colours = uniform(own) < data.flip, random_colours(data.colour, own)
            views = [View(box, flipped, colours) for box in boxes]
        pose_boxes = [view.box for view in views[1:]]
        if not data.shared_crop and video.split == "train":
            pose_boxes = [draw_box() for _ in numbers[1:]]

        batch: Batch = {"keep": keep, "video": torch.tensor(pick.video), "frames": torch.tensor(numbers)}
        if self.captions is not None:
            batch["context"] = self.captions.read(pick.video) if keep_text else self.context[0]
        poses, weights, images = [], [], []
        for k, number in enumerate(numbers):
            with_picture = self.latents is None or self.needs_pictures
            if not (with_picture or k):
                continue
            parts = hidden[k - 1] if hidden and k else ()
            frame = self.frames.read(pick.video, number, parts, views[k].mirrored)
            if with_picture:
                images.append(torch.from_numpy(views[k].picture(frame.image, size).copy()))
            if k:
                poses.append(torch.from_numpy(crop_picture(frame.pose, pose_boxes[k - 1], size).copy()))
                regions = crop_regions(frame.regions, views[k].box, size)
                head_and_hands = self.stage.head_weight, self.stage.hand_weight
                weights.append(region_weights(regions, size, self.space.factor, head_and_hands))
        if images:
            batch["images"] = torch.stack(images)
        if self.latents is not None:
            batch["latents"] = self.latents.read(pick.video, numbers, crop) * self.space.scaling_factor
        batch["poses"], batch["weights"] = torch.stack(poses), torch.stack(weights)
        low, high = self.stage.min_timestep, self.stage.max_timestep
        timestep = low + int(position * (high - low))
        batch["timestep"] = torch.tensor(self.rollout.timestep(position) if self.rollout else timestep)
        batch["noise"] = self._noise(len(pick.targets), size, source)
        return batch

    def _hidden(self, index: int) -> list[tuple[str, ...]]:
        """Return the parts that the pose map of each target lacks; every part of every map is drawn on its own."""
        shares = {"face": self.stage.mask_face} | dict.fromkeys(("left_hand", "right_hand"), self.stage.mask_hand)
        source = generator(self.seed, self.stage.name, "masks", index)
        return [
            tuple(part for part, share in shares.items() if uniform(source) < share) for _ in range(self.stage.targets)
        ]

    def _noise(self, frames: int, size: Size, source: torch.Generator) -> Tensor:
        shape, kinds = self.space.shape(size), self.stage.noises
        independent = torch.randn(frames, *shape, generator=source)
        kind = kinds[below(source, len(kinds))] if kinds else "independent"
        if kind == "independent":
            return independent
        return mix_noise(kind, torch.randn(1, *shape, generator=source), independent)

    def loss(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Tensor:
        latents = self._latents(networks, batch)
        people, frames = batch["noise"].shape[:2]
        losses = diffusion_loss(
            self._attached(networks, batch),
            self.schedule,
            latents[:, 0],
            latents[:, 1:].flatten(0, 1),
            to_unit(batch["poses"].flatten(0, 1)),
            self._context(batch),
            batch["timestep"],
            batch["noise"].flatten(0, 1),
            batch["weights"].flatten(0, 1),
            keep_reference=batch["keep"][:, 0],
            keep_pose=batch["keep"][:, 1],
            min_snr=self.stage.min_snr,
            change_weight=self.stage.change_weight,
            still_weight=self.stage.still_weight,
            rollout=self.rollout,
        )
        return losses.unflatten(0, (people, frames)).mean(1)

    def _attached(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Networks:
        """Return the UNet with the controls that are kept for somebody in the batch."""
        kept = {"appearance": batch["keep"][:, 0].any(), "pose": batch["keep"][:, 1].any(), "motion": True}
        return Networks(networks["unet"], **{name: networks[name] for name in self.stage.controls if kept[name]})

    def _context(self, batch: Batch) -> Tensor:
        """Return the encoded captions, or the empty prompt."""
        return batch["context"] if "context" in batch else self.context.to(batch["noise"].device)

    def _latents(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Tensor:
        """Return the scaled latents of reference and targets, `[R, 1 + n, 4, h, w]`."""
        return batch["latents"] if "latents" in batch else self._encode(networks["vae"], batch["images"])

    @torch.no_grad()
    def _encode(self, vae: AutoencoderKL, images: Tensor) -> Tensor:
        flat = to_unit(images.flatten(0, 1)).to(vae.dtype) * 2 - 1
        latents = torch.cat([vae.encode(part).latent_dist.mode() for part in flat.split(8)])
        return latents.float().unflatten(0, images.shape[:2]) * self.space.scaling_factor


class DecodingObjective(DiffusionObjective):
    """Decoding of clips that the networks sampled; the motion module's layers in the VAE's decoder learn."""

    bands = 1
    needs_pictures = True

    def __init__(self, *args: Any, **kwargs: Any):
        """Takes the arguments of `DiffusionObjective`."""
        super().__init__(*args, **kwargs)
        self.networks = ("unet", *self.stage.controls, "vae")

    def loss(self, networks: Mapping[str, ModelMixin], batch: Batch) -> Tensor:
        assert self.rollout is not None
        people, frames = batch["noise"].shape[:2]
        keep = batch["keep"]
        poses = to_unit(batch["poses"].flatten(0, 1)).unflatten(0, (people, frames))
        reference = batch | {"images": batch["images"][:, :1]}
        latents, context = self._latents(networks, reference)[:, 0], self._context(batch)
        conditioning = Conditioning(latents, poses, context, keep[:, 0], keep[:, 1])
        predicted = partial(
            guided_prediction, self._attached(networks, batch), conditioning, self.rollout.guidance_scale
        )
        clean = torch.full_like(batch["timestep"], CLEAN)
        latents = self.rollout.latents(predicted, batch["noise"].flatten(0, 1), clean) / self.space.scaling_factor
        with apply_temporal_decoder(networks["vae"], networks["motion"].temporal_decoder, frames):
            decoded = networks["vae"].decode(latents).sample.float()
        truth = to_unit(batch["images"][:, 1:].flatten(0, 1)) * 2 - 1
        weights = F.interpolate(batch["weights"].flatten(0, 1), scale_factor=self.space.factor)
        decoded, truth, weights = (x.unflatten(0, (people, frames)) for x in (decoded, truth, weights))
        return decoding_loss(decoded, truth, weights, self.stage.change_weight, self.stage.still_weight)


def order_of(frames: FrameSet, data: DataConfig, group: int) -> Callable[[str, int, int], list[int]] | None:
    """Return the order of a data set that has a special one, for `Picker`; None for others.

    group: number of samples of a step.
    """
    if isinstance(frames, StreamedFrames):
        return frames.order
    mixed = isinstance(frames, MixedFrames)
    shapes = [frame_size(frames, data, number) for number in range(len(frames.videos))]
    if not mixed and len(set(shapes)) == 1:
        return None
    training = [number for number, video in enumerate(frames.videos) if video.split == "train"]
    pairs = zip(frames.numbers("train"), frames.weights) if isinstance(frames, MixedFrames) else [(training, 1.0)]
    sets, weights = zip(*((numbers, weight) for numbers, weight in pairs if numbers))
    return EpochOrder(sets, weights, shapes, group)


def to_unit(pictures: Tensor) -> Tensor:
    """Convert uint8 `[n, H, W, 3]` to float32 `[n, 3, H, W]` in [0, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 255
