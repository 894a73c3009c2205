"""A sampling run: encode the reference, denoise the frames, decode them; at once or as a stream."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..checkpoints import Components
from ..checks import check_type
from ..cpu import SMALL_SAMPLING, iterate_with_threads, threads, threads_for
from ..errors import InputError
from ..models import Networks, vae_scale_factor
from .background import Background, FrameBackground
from .denoise import Denoiser, DenoisingInputs, ProgressCallback, denoise, resolve_windows
from .hints import BLOCK, Hints, encode_poses
from .images import to_images
from .noise import FrameNoise, get_noise, make_noise, noise_from_latents
from .order import WindowSchedule
from .reference import BankCache, EncodedReference
from .regions import CheckedRegions, EncodedRegions, Region, check_regions
from .settings import SamplingSettings
from .steps import is_stateful
from .vae import INDEPENDENT, StreamDecoder, TemporalDecoding, decode_frames, encode_images

Device = tuple[torch.device, torch.dtype]
"""Where and in which dtype a network computes, wherever its weights are."""


@dataclass(frozen=True)
class Phase:
    """The part of a run that is computed next.

    roles: the networks that it needs together, "vae" first where pictures are encoded or decoded. batch: pictures or
    latents per forward pass, the reference's included. height, width: of each, in pixels for the VAE, else in latents'.
    """

    roles: tuple[str, ...]
    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class Placement:
    """Where a model computes, and how its networks get there.

    unet, vae: device and dtype; the controls and the motion module compute where the UNet does. load: called before
    each phase, to bring its networks there. fits_batched: whether `batched_guidance` fits for a number of frames and of
    pixels of a latent; None asks the device when the networks are there.
    """

    unet: Device
    vae: Device
    load: Callable[[Phase], None] = lambda phase: None
    fits_batched: Callable[[int, int], bool] | None = None

    @classmethod
    def of(cls, model: Components) -> "Placement":
        """Return the placement of a model whose weights stay where they are."""
        return cls((model.unet.device, model.unet.dtype), (model.vae.device, model.vae.dtype))


@dataclass(frozen=True)
class RunInputs:
    """Checked inputs of a run.

    reference: `[R, 3, H', W']` in [0, 1], encoded, or in regions; None without an Appearance Control Model. noise: of
    every frame. frames: how many. context, uncond_context: prompts `[1, n, C]`. background: of this run only.
    """

    reference: Tensor | EncodedReference | CheckedRegions | None
    noise: FrameNoise
    frames: int
    context: Tensor
    uncond_context: Tensor | None = None
    background: FrameBackground | None = None


@dataclass(frozen=True)
class Sample:
    """latents: clean and scaled, `[F, 4, h, w]`, float32, where the UNet computes. frames: in [0, 1], float32, on the
    CPU, `[n, 3, H, W]` at a time, decoded on demand."""

    latents: Tensor
    frames: Iterator[Tensor]


@dataclass(frozen=True)
class FrameChunk:
    """Consecutive frames of a stream, and the state of the run after them.

    frames: their numbers, following the previous chunk. pictures: `[n, 3, H, W]` in [0, 1], float32, on the CPU.
    """

    frames: tuple[int, ...]
    pictures: Tensor
    schedule: WindowSchedule
    decoder: StreamDecoder

    def state(self) -> dict[str, Tensor]:
        """Return what resumes the run after this chunk; valid until the next chunk is requested."""
        return self.schedule.state() | self.decoder.state()


def prepare(
    model: Components,
    settings: SamplingSettings,
    reference: object,
    pose_map: Tensor,
    frames: int,
    *,
    latents: Tensor | None = None,
    generator: torch.Generator | None = None,
    prompt_embeds: Tensor | None = None,
    negative_prompt_embeds: Tensor | None = None,
    background: Background | None = None,
) -> tuple[SamplingSettings, RunInputs]:
    """Check what a caller passes; returns resolved settings and the inputs of `run` and `stream`.

    reference: see `images.to_images`, encoded, or a list of `Region`; not used without an Appearance Control Model.
    pose_map: one of the maps `[n, 3, H, W]`, for the size of the frames.
    latents, generator, prompt_embeds, negative_prompt_embeds, background: see `MagicDancePipeline.__call__`.
    Raises InputError for what cannot be used.
    """
    settings = settings.resolve(model.defaults, model.scheduler.config.num_train_timesteps - 1)
    check_type(generator, "generator", torch.Generator | None)
    context = _prompt(model, prompt_embeds, "prompt_embeds")
    if negative_prompt_embeds is not None:
        uncond_context = _prompt(model, negative_prompt_embeds, "negative_prompt_embeds")
    else:  # with a reference, "controlnet_important" contrasts the controls and not the prompts, as published
        contrasted = settings.control_mode == "balance" or model.appearance is None
        uncond_context = model.context if contrasted else context
    resolve_windows(_networks(model), frames, settings)
    factor, size = vae_scale_factor(model.vae), (pose_map.shape[2], pose_map.shape[3])
    check_type(background, "background", Background | None)
    kept = None if background is None else FrameBackground(background, frames, size, factor)
    if model.appearance is None:
        reference = None
    elif isinstance(reference, Sequence) and any(isinstance(part, Region) for part in reference):
        for part in reference:
            check_type(part, "A region", Region)
        only = reference[0] if len(reference) == 1 and reference[0].mask is None else None
        outside = None if kept is None else kept.outside()
        reference = only.reference if only else check_regions(reference, frames, size, factor, outside)
    if not (reference is None or isinstance(reference, (EncodedReference, CheckedRegions))):
        reference = to_images(reference, "The reference", factor)
    noise = _noise(model, settings, latents, pose_map, frames, generator)
    DenoisingInputs(noise, frames, context, uncond_context)  # checks them before anything is encoded
    return settings, RunInputs(reference, noise, frames, context, uncond_context, kept)


def run(
    model: Components,
    settings: SamplingSettings,
    inputs: RunInputs,
    pose_maps: Tensor,
    *,
    placement: Placement | None = None,
    callback: ProgressCallback | None = None,
) -> Sample:
    """Sample one frame for each pose map `[F, 3, H, W]` in [0, 1], ignored without a Pose ControlNet.

    settings, inputs: from `prepare`. placement: by default where the weights are. callback: see `Denoiser`.
    """
    placement, networks = placement or Placement.of(model), _networks(model)
    count, hints = inputs.frames, None
    batch = min(resolve_windows(networks, count, settings).length, count)
    number, temporal = _threads(model), _temporal_decoding(networks, count, settings)
    with threads(number):
        # Each step reads the reference once, so caching would only cost memory here.
        reference = _encode_reference(model, inputs.reference, placement, max_bank_bytes=0)
        height, width = inputs.noise.shared.shape[-2:]
        if settings.batched_guidance is None and placement.fits_batched is not None:
            settings = replace(settings, batched_guidance=placement.fits_batched(batch, height * width))
        conditions = _conditioned(inputs, reference, placement)
        if inputs.background is not None:
            placement.load(Phase(("vae",), 1, *pose_maps.shape[-2:]))
            kept = torch.cat([encode_images(model.vae, one, *placement.vae) for one in inputs.background.pictures()])
            on_device = Hints.from_encoded(kept, torch.empty(0, device=placement.unet[0]))
            conditions = replace(conditions, background=(on_device, inputs.background))
        rows = (2 if settings.batched_guidance else 1) * batch + _pictures(reference)
        placement.load(Phase(networks.roles(), rows, height, width))
        if (pose := networks.pose) is not None:
            encode = partial(encode_poses, pose, batch=batch, device=placement.unet[0], dtype=placement.unet[1])
            hints = Hints(pose_maps.split(1), encode, batch)
            conditions = _with_poses_apart(conditions, inputs, encode, batch)
        latents = denoise(networks, model.scheduler, settings, replace(conditions, hints=hints), callback)

    def frames() -> Iterator[Tensor]:
        height, width = pose_maps.shape[-2:]
        chunk = temporal.chunk_size(settings.decode_chunk_size, height * width)
        roles = ("vae",) if temporal.decoder is None else ("vae", "motion")
        placement.load(Phase(roles, min(chunk + 2 * temporal.reach, count), height, width))
        decoded = decode_frames(model.vae, latents, settings.decode_chunk_size, *placement.vae, temporal=temporal)
        first = 0
        for part in iterate_with_threads(number, decoded):
            if inputs.background is not None:
                part = inputs.background.blend(tuple(range(first, first + len(part))), part)
            first += len(part)
            yield part

    return Sample(latents, frames())


def stream(
    model: Components,
    settings: SamplingSettings,
    inputs: RunInputs,
    pose_maps: Iterable[Tensor],
    *,
    pictures: Iterable[Tensor] | None = None,
    first: int = 0,
    end: int | None = None,
    state: dict[str, Tensor] | None = None,
    placement: Placement | None = None,
    callback: ProgressCallback | None = None,
) -> Iterator[FrameChunk]:
    """Sample a video of any length in the memory of a short one; frames are yielded as they are ready.

    pose_maps: `[1, 3, H, W]` in [0, 1], read when they are needed. pictures: likewise, of the same size, to start from
    in place of noise, see `SamplingSettings.strength`. first: frame to start at, the first of a batch; end: to
    end before, the last of a batch + 1, None for all; without a motion module only. state: of an earlier run's chunk,
    to continue after it. Others: see `run`.
    Raises InputError for a state where the scheduler or the shortcuts cannot resume, and for a frame to start at that
    depends on earlier ones.
    """
    if state is not None and is_stateful(model.scheduler):
        raise InputError(f"A run with {type(model.scheduler).__name__} cannot be resumed: use DDIM or start again.")
    if state is not None and settings.shortcuts.pose_every > 1:
        raise InputError("A run whose Pose ControlNet skips steps cannot be resumed: start again.")
    placement, networks = placement or Placement.of(model), _networks(model)
    if first and (networks.motion is not None or first % settings.frames_per_batch):
        raise InputError(f"Frame {first} depends on earlier ones: start at frame 0.")
    if end not in (None, inputs.frames):
        if networks.motion is not None:
            raise InputError(f"Frame {end} changes those before it: do not end there.")
        inputs = replace(inputs, frames=end)

    def chunks() -> Iterator[FrameChunk]:
        reference, hints, source = _encode_reference(model, inputs.reference, placement), None, None
        windows = resolve_windows(networks, inputs.frames, settings)
        height, width = inputs.noise.shared.shape[-2:]
        placement.load(Phase((*networks.roles(), "vae"), min(windows.length, inputs.frames), height, width))
        conditions = _conditioned(inputs, reference, placement)
        if (pose := networks.pose) is not None:
            encode = partial(encode_poses, pose, batch=BLOCK, device=placement.unet[0], dtype=placement.unet[1])
            hints = Hints(pose_maps, encode)
            if pictures is None:
                conditions = _with_poses_apart(conditions, inputs, encode, BLOCK)
        if pictures is not None:
            source = Hints(pictures, lambda images: encode_images(model.vae, images, *placement.vae))
        conditions = replace(conditions, hints=hints, source=source)
        if (background := inputs.background) is not None:
            outside = Hints(background.pictures(), lambda images: encode_images(model.vae, images, *placement.vae))
            conditions = replace(conditions, background=(outside, background))
        denoiser = Denoiser(networks, model.scheduler, settings, conditions, callback)
        schedule = WindowSchedule(windows, inputs.frames, denoiser.steps)
        decoder = StreamDecoder(inputs.frames, _temporal_decoding(networks, inputs.frames, settings))
        if state is not None:
            _check_state(state, (model.unet.config.in_channels, height, width))
            decoder.restore(state, schedule.restore(state, placement.unet[0]), placement.unet[0])
        elif first:
            schedule.skip(first)
            decoder.decoded = first
        if background is not None:
            background.skip(min(decoder.decoded, schedule.first // BLOCK * BLOCK))  # blocks are encoded whole
        apart = conditions.reference.hints if isinstance(conditions.reference, EncodedRegions) else ()
        for encoded in filter(None, (hints, source, conditions.background and conditions.background[0], *apart)):
            encoded.skip(schedule.first)
        for finished in denoiser.run(schedule):
            decoder.add(finished)
            numbers, decoded = decoder.decode(model.vae, settings.decode_chunk_size, *placement.vae)
            if decoded is not None:
                if background is not None:
                    decoded = background.blend(numbers, decoded)
                yield FrameChunk(numbers, decoded, schedule, decoder)

    yield from iterate_with_threads(_threads(model), chunks())


def _networks(model: Components) -> Networks:
    return Networks(model.unet, model.appearance, model.pose, model.motion)


def _encode_reference(
    model: Components,
    reference: Tensor | EncodedReference | CheckedRegions | None,
    placement: Placement,
    max_bank_bytes: int | None = None,
) -> EncodedReference | EncodedRegions | None:
    if reference is None:
        return None

    def encode(part: Tensor | EncodedReference) -> EncodedReference:
        if isinstance(part, EncodedReference):
            return part
        placement.load(Phase(("vae",), len(part), *part.shape[-2:]))
        return EncodedReference(encode_images(model.vae, part, *placement.vae), BankCache(max_bank_bytes))

    if isinstance(reference, CheckedRegions):
        return EncodedRegions(tuple(map(encode, reference.references)), reference.weights, reference.reference_masks)
    return encode(reference)


def _pictures(reference: EncodedReference | EncodedRegions | None) -> int:
    """Return how many pictures the Appearance Control Model reads at once."""
    if isinstance(reference, EncodedRegions):
        return max(map(_pictures, reference.references))
    return 0 if reference is None else len(reference.latents)


def _conditioned(
    inputs: RunInputs, reference: EncodedReference | EncodedRegions | None, placement: Placement
) -> DenoisingInputs:
    context = inputs.context.to(*placement.unet)
    return DenoisingInputs(inputs.noise, inputs.frames, context, inputs.uncond_context, reference)


def _with_poses_apart(
    conditions: DenoisingInputs, inputs: RunInputs, encode: Callable[[Tensor], Tensor], block: int
) -> DenoisingInputs:
    """Return conditions with the pose maps of each person alone, if regions have them."""
    regions, checked = conditions.reference, inputs.reference
    if not (isinstance(regions, EncodedRegions) and isinstance(checked, CheckedRegions)):
        return conditions
    hints = tuple(Hints(maps, encode, block) for maps in checked.pose_maps(inputs.frames))
    return replace(conditions, reference=replace(regions, hints=hints))


def _temporal_decoding(networks: Networks, frames: int, settings: SamplingSettings) -> TemporalDecoding:
    """Return how frames depend on each other while they are decoded: as while they are denoised."""
    strength = settings.motion_control.strength
    if networks.motion is None or strength == 0 or frames == 1:
        return INDEPENDENT
    closed = settings.windows is not None and settings.windows.closed
    return TemporalDecoding(networks.motion.temporal_decoder, strength, closed)


def _check_state(state: dict[str, Tensor], shape: tuple[int, ...]) -> None:
    """Raise InputError unless the stored tensors are finite latents of this shape `(4, h, w)`, besides the counts."""
    for name, tensor in state.items():
        is_latent = name in ("latent", "total", "clean")
        if not is_latent and name != "done":
            raise InputError(f"The stored state has an unknown tensor {name}: start again.")
        if is_latent and (tuple(tensor.shape[1:]) != shape or tensor.dtype != torch.float32):
            raise InputError(f"The stored state's {name} has the shape {list(tensor.shape)}: start again.")
        if not tensor.isfinite().all():
            raise InputError(f"The stored state's {name} contains NaN or infinite values: start again.")


def _threads(model: Components) -> int:
    return threads_for(model.unet, model.appearance, model.pose, model.motion, model.vae, small=SMALL_SAMPLING)


def _noise(
    model: Components,
    settings: SamplingSettings,
    latents: Tensor | None,
    pose_map: Tensor,
    frames: int,
    generator: torch.Generator | None,
) -> FrameNoise:
    height, width = (side // vae_scale_factor(model.vae) for side in pose_map.shape[2:])
    shape = (1, model.unet.config.in_channels, height, width)
    if latents is None:
        kind = settings.noise or ("shared" if model.motion is None else model.motion.config.noise)
        return make_noise(kind, get_noise(shape, generator), settings.windows, generator)
    check_type(latents, "latents", Tensor)
    if tuple(latents.shape) not in (shape, (frames, *shape[1:])):
        raise InputError(
            f"latents has the shape {list(latents.shape)}: give {list(shape)} for all frames or {[frames, *shape[1:]]}."
        )
    if not latents.isfinite().all():
        raise InputError("latents contains NaN or infinite values: give standard normal noise.")
    return noise_from_latents(latents.float(), generator)


def _prompt(model: Components, embeds: Tensor | None, name: str) -> Tensor:
    if embeds is None:
        return model.context
    check_type(embeds, name, Tensor)
    width = model.context.shape[-1]
    if embeds.dim() != 3 or len(embeds) != 1 or embeds.shape[-1] != width:
        raise InputError(f"{name} has the shape {list(embeds.shape)}: give [1, n, {width}].")
    return embeds
