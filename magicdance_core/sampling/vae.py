"""The VAE's part of a run: pictures to latents, latents to frames; a temporal decoder also looks at neighbours."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..errors import InputError
from ..models import TemporalDecoder, apply_temporal_decoder, vae_scale_factor
from .order import Finished

VAE_PIXELS = 1024 * 1024
"""Pixels that the VAE processes at once on any device."""


@torch.no_grad()
def encode_images(
    vae: AutoencoderKL, images: Tensor, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> Tensor:
    """Encode images `[N, 3, H, W]` in [0, 1] as scaled latents `[N, 4, h, w]`, float32, where the VAE computes.

    The posterior's mode, so that no random number is involved; the published code draws a sample of it.
    device, dtype: where the network computes; by default where its weights are.
    """
    images = images.to(device or vae.device, dtype or vae.dtype) * 2 - 1
    return vae.encode(images).latent_dist.mode().float() * vae.config.scaling_factor


@dataclass(frozen=True)
class TemporalDecoding:
    """How decoding a frame depends on its neighbours.

    decoder: None to decode each frame independently. strength: of the decoder's temporal layers, 0 for none. closed:
    the last frame is followed by the first.
    """

    decoder: TemporalDecoder | None = None
    strength: float = 1.0
    closed: bool = False

    @property
    def reach(self) -> int:
        """The number of neighbours on either side that a frame depends on."""
        return 0 if self.decoder is None else self.decoder.reach

    def chunk_size(self, requested: int, pixels: int) -> int:
        """Return how many frames of `pixels` pixels to decode at once: `requested`, or of small pictures as many as
        make VAE_PIXELS, because neighbours are decoded again with the next chunk."""
        return max(requested, VAE_PIXELS // pixels - 2 * self.reach) if self.reach else requested

    def inputs(self, first: int, last: int, count: int) -> tuple[list[int], int]:
        """Return the frames of `count` that frames first to last - 1 depend on, in order, and the index of `first`."""
        needed = range(first - self.reach, last + self.reach)
        if self.closed:
            return [number % count for number in needed], self.reach
        numbers = [number for number in needed if 0 <= number < count]
        return numbers, first - numbers[0]


INDEPENDENT = TemporalDecoding()


@torch.no_grad()
def decode_frames(
    vae: AutoencoderKL,
    latents: Tensor,
    chunk_size: int = 4,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    temporal: TemporalDecoding = INDEPENDENT,
    frames: range | None = None,
) -> Iterator[Tensor]:
    """Decode scaled latents `[F, 4, h, w]`; yields frames in [0, 1], float32 on the CPU, `[n, 3, H, W]` at a time.

    chunk_size: frames at a time; see `TemporalDecoding.chunk_size` for how a temporal decoder changes it.
    device, dtype: where the network computes; by default where its weights are. frames: which ones; by default all.
    Raises InputError if values are not finite.
    """
    frames = range(len(latents)) if frames is None else frames
    chunk_size = temporal.chunk_size(chunk_size, latents.shape[-2] * latents.shape[-1] * vae_scale_factor(vae) ** 2)
    device, pending = device or vae.device, None
    for first in range(frames.start, frames.stop, chunk_size):
        last = min(first + chunk_size, frames.stop)
        numbers, offset = temporal.inputs(first, last, len(latents))
        part = (latents[numbers] / vae.config.scaling_factor).to(device, dtype or vae.dtype)
        with apply_temporal_decoder(vae, temporal.decoder, len(part), temporal.strength):
            decoded = vae.decode(part, return_dict=False)[0][offset : offset + last - first].float()
        ready = _copy_to_cpu((decoded / 2 + 0.5).clamp(0, 1), decoded.isfinite().all())
        if device.type != "cuda":
            yield ready()
        else:
            if pending is not None:
                yield pending()
            pending = ready
    if pending is not None:
        yield pending()


class StreamDecoder:
    """Decodes the clean latents of a stream in order, as soon as the neighbours of a frame are there.

    count: frames of the stream. `decoded`: how many of them are done. Latents that no frame needs any more are dropped.
    """

    def __init__(self, count: int, temporal: TemporalDecoding):
        self.count, self.temporal, self.decoded = count, temporal, 0
        self._latents: dict[int, Tensor] = {}

    def add(self, finished: Finished) -> None:
        """Add clean latents, in any order."""
        self._latents.update(finished)

    def decode(
        self, vae: AutoencoderKL, chunk_size: int, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> tuple[tuple[int, ...], Tensor | None]:
        """Return the numbers of the frames that are ready and their pictures `[n, 3, H, W]`, None if there are none.

        device, dtype: see `decode_frames`.
        """
        first, last = self.decoded, self._ready()
        if first == last:
            return (), None
        numbers, offset = self.temporal.inputs(first, last, self.count)
        latents = torch.cat([self._latents[number] for number in numbers])
        frames = range(offset, offset + last - first)
        # The neighbours across the ends of a closed loop are among `numbers` already.
        temporal = replace(self.temporal, closed=False)
        pictures = torch.cat(list(decode_frames(vae, latents, chunk_size, device, dtype, temporal, frames)))
        self.decoded = last
        self._latents = {number: self._latents[number] for number in self._still_needed()}
        return tuple(range(first, last)), pictures

    def _ready(self) -> int:
        """Return the first frame whose neighbours are not all there."""
        known = self.decoded
        while known in self._latents:
            known += 1
        if known == self.count:
            return known
        if self.temporal.closed and self.temporal.reach:
            return self.decoded
        return max(self.decoded, known - self.temporal.reach)

    def state(self) -> dict[str, Tensor]:
        """Return the latents that a resumed stream needs, by their numbers, on the CPU."""
        latents = [self._latents[number] for number in sorted(self._latents)]
        return {"clean": torch.cat(latents).cpu()} if latents else {}

    def restore(self, state: dict[str, Tensor], finished: Collection[int], device: torch.device | str = "cpu") -> None:
        """Continue from the result of `state` when these frames were finished. device: where latents are.

        Raises InputError if the state is not one of such a stream.
        """
        self._latents = dict.fromkeys(finished, torch.empty(0))
        self.decoded = self._ready()
        numbers, clean = self._still_needed(), state.get("clean", torch.empty(0))
        if len(clean) != len(numbers):
            raise InputError("The stored state belongs to another run: start again.")
        self._latents = dict(zip(numbers, clean.to(device).split(1)))

    def _still_needed(self) -> list[int]:
        """Return the finished frames that are not decoded yet, or neighbours of such."""
        first = self.decoded - self.temporal.reach if self.decoded < self.count else self.decoded
        return sorted(number for number in self._latents if number >= first)


def _copy_to_cpu(frames: Tensor, finite: Tensor) -> Callable[[], Tensor]:
    """Start copying frames to the CPU; the returned function waits for them, while a GPU decodes the next ones.

    It raises InputError if they are not all finite.
    """
    on_gpu = frames.device.type == "cuda"
    frames, finite = frames.to("cpu", non_blocking=on_gpu), finite.to("cpu", non_blocking=on_gpu)
    copied = torch.cuda.current_stream().record_event() if on_gpu else None

    def wait() -> Tensor:
        if copied is not None:
            copied.synchronize()
        if not finite:
            raise InputError("The VAE gave values that are not finite: run it in float32, or use another VAE.")
        return frames

    return wait
