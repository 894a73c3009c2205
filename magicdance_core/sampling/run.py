"""One run: the reference is encoded, the frames are denoised, then decoded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, SchedulerMixin
from torch import Tensor

from ..models import Networks
from ..threads import SMALL_SAMPLING, made_with, threads, threads_for
from .banks import Person
from .decoding import ALONE, StreamDecoder, TemporalDecoding, decode_frames
from .denoise import Denoiser, denoise, windows_for
from .hints import BLOCK, Hints
from .latents import encode_images, encode_poses
from .noise import FrameNoise
from .order import Walk
from .settings import FULL
from .windows import Windows

Place = tuple[torch.device, torch.dtype]
"""Where and in which dtype a network computes, wherever its weights happen to be."""


@dataclass(frozen=True)
class Phase:
    """What a run is about to do.

    roles: the networks that it needs together, "vae" first where pictures are encoded or decoded, else names of
    `Networks`. batch: pictures or latents that they take at once, the reference's included. height, width: of each, in
    pixels for the VAE, else in latents'.
    """

    roles: tuple[str, ...]
    batch: int
    height: int
    width: int


@dataclass(frozen=True)
class Sample:
    """latents: clean and scaled, `[F, 4, h, w]`, float32, where the UNet computes. frames: in [0, 1], float32, on the
    CPU, `[n, 3, H, W]` at a time, each part decoded when it is asked for."""

    latents: Tensor
    frames: Iterator[Tensor]


def run(
    networks: Networks,
    vae: AutoencoderKL,
    scheduler: SchedulerMixin,
    reference: Tensor | Person,
    pose_maps: Tensor,
    noise: Tensor | FrameNoise,
    context: Tensor,
    *,
    windows: Windows | None = None,
    frames_per_batch: int = 8,
    decode_batch: int = 4,
    place: Place | None = None,
    vae_place: Place | None = None,
    before: Callable[[Phase], None] = lambda phase: None,
    **options,
) -> Sample:
    """Make one frame a pose map, of the person in the reference.

    reference: `[R, 3, H', W']` in [0, 1], not encoded without an Appearance Control Model; or a `Person`. pose_maps:
    `[F, 3, H, W]` in [0, 1], not encoded without a Pose ControlNet. noise, context, options: see `denoise`.
    windows: what a motion module sees together. frames_per_batch, decode_batch: frames that the networks, without a
    motion module, and the VAE take at once.
    place, vae_place: of `networks` and of the VAE; by default where the UNet's and the VAE's weights are.
    before: called before each phase, so that its networks can be brought to their place.
    """
    place, vae_place = place or (networks.unet.device, networks.unet.dtype), vae_place or (vae.device, vae.dtype)
    count, clean, hints = len(pose_maps), None, None
    batch = min(windows_for(networks, count, windows, frames_per_batch).length, count)
    height, width = (noise if isinstance(noise, Tensor) else noise.shared).shape[-2:]
    number, temporal = _threads(networks, vae), _temporal_decoding(networks, count, windows, options)
    with threads(number):
        if isinstance(reference, Person):
            clean, options = reference.latents, options | {"banks": reference.banks}
        elif networks.appearance is not None:
            before(Phase(("vae",), len(reference), *reference.shape[-2:]))
            clean = encode_images(vae, reference, *vae_place)
        rows = 2 * batch if options.get("one_pass") else batch
        before(Phase(networks.roles(), rows + (0 if clean is None else len(clean)), height, width))
        if networks.pose is not None:
            hints = Hints(pose_maps.split(1), lambda maps: encode_poses(networks.pose, maps, batch, *place), batch)
        latents = denoise(
            networks,
            scheduler,
            noise,
            context.to(*place),
            reference=clean,
            hints=hints,
            frames=count,
            windows=windows,
            frames_per_batch=frames_per_batch,
            **options,
        )

    def frames() -> Iterator[Tensor]:
        height, width = pose_maps.shape[-2:]
        at_once = min(temporal.at_a_time(decode_batch, height * width) + 2 * temporal.reach, count)
        before(Phase(("vae",) if temporal.decoder is None else ("vae", "motion"), at_once, height, width))
        yield from made_with(number, decode_frames(vae, latents, decode_batch, *vae_place, temporal=temporal))

    return Sample(latents, frames())


@dataclass(frozen=True)
class Bunch:
    """frames: their numbers, on from the bunch before. pictures: `[n, 3, H, W]` in [0, 1], float32, on the CPU. walk,
    decoding: how far the run is."""

    frames: tuple[int, ...]
    pictures: Tensor
    walk: Walk
    decoding: StreamDecoder

    def state(self) -> dict[str, Tensor]:
        """What a run goes on from behind this bunch, before the next one is asked for."""
        return self.walk.state() | self.decoding.state()


def stream(
    networks: Networks,
    vae: AutoencoderKL,
    scheduler: SchedulerMixin,
    reference: Tensor | Person,
    poses: Iterable[Tensor],
    frames: int,
    noise: Tensor | FrameNoise,
    context: Tensor,
    *,
    windows: Windows | None = None,
    frames_per_batch: int = 8,
    decode_batch: int = 4,
    quick: bool = False,
    state: dict[str, Tensor] | None = None,
    **options,
) -> Iterator[Bunch]:
    """A video of any length in the memory of a short one: frames come out as they are ready, in the diagonal order.

    poses: maps `[1, 3, H, W]` in [0, 1], read when they are needed; frames: how many. state: of an earlier run's bunch,
    to go on from. quick: in the preview's order, an approximation. The networks compute where their weights are.
    Others: see `run`.
    """

    def bunches() -> Iterator[Bunch]:
        person = reference
        if not isinstance(person, Person) and networks.appearance is not None:
            person = Person(encode_images(vae, person))
        known = {"reference": person.latents, "banks": person.banks} if isinstance(person, Person) else {}
        place = networks.unet.device, networks.unet.dtype
        hints = None
        if networks.pose is not None:
            hints = Hints(poses, lambda maps: encode_poses(networks.pose, maps, BLOCK, *place))
        denoiser = Denoiser(
            networks, scheduler, noise, context.to(*place), frames=frames, hints=hints, **known, **options
        )
        walk = Walk(windows_for(networks, frames, windows, frames_per_batch), frames, denoiser.steps)
        decoding = StreamDecoder(frames, _temporal_decoding(networks, frames, windows, options))
        if state is not None:
            walk.restore(state, place[0])
            decoding.restore(state, place[0])
            if hints is not None:
                hints.skip(walk.first)
        made = denoiser.preview(walk) if quick else denoiser.run(walk)
        for finished in made:
            decoding.take(finished)
            numbers, pictures = decoding.decode(vae, decode_batch)
            if numbers:
                yield Bunch(numbers, pictures, walk, decoding)

    yield from made_with(_threads(networks, vae), bunches())


def _temporal_decoding(networks: Networks, frames: int, windows: Windows | None, options: dict) -> TemporalDecoding:
    """What frames are to each other while they are decoded: the same as while they are sampled."""
    strength = options.get("motion", FULL).strength
    if networks.motion is None or strength == 0 or frames == 1:
        return ALONE
    return TemporalDecoding(networks.motion.temporal_decoder, strength, windows is not None and windows.closed)


def _threads(networks: Networks, vae: AutoencoderKL) -> int:
    return threads_for(*vars(networks).values(), vae, small=SMALL_SAMPLING)
