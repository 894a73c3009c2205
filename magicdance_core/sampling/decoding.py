"""Latents to pictures, a batch at a time; with a temporal decoder, frames look at their neighbours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..errors import InputError
from ..models import TemporalDecoder, apply_temporal_decoder, vae_scale_factor
from .latents import VAE_PIXELS
from .order import Finished


@dataclass(frozen=True)
class TemporalDecoding:
    """What frames are to each other while they are decoded.

    decoder: None for pictures on their own. strength: of the decoder's layers, 0 for none. closed: the last frame leads
    to the first.
    """

    decoder: TemporalDecoder | None = None
    strength: float = 1.0
    closed: bool = False

    @property
    def reach(self) -> int:
        """A frame depends on so many others on either side."""
        return 0 if self.decoder is None else self.decoder.reach

    def at_a_time(self, batch: int, pixels: int) -> int:
        """How many frames of so many pixels to decode at a time, beside their neighbours: `batch`, or of small pictures
        as many as make VAE_PIXELS, for neighbours are decoded again with the next ones."""
        return max(batch, VAE_PIXELS // pixels - 2 * self.reach) if self.reach else batch

    def around(self, first: int, last: int, count: int) -> tuple[list[int], int]:
        """The frames of `count` that frames first to last - 1 depend on, in their order, and the place of the first."""
        seen = range(first - self.reach, last + self.reach)
        if self.closed:
            return [number % count for number in seen], self.reach
        numbers = [number for number in seen if 0 <= number < count]
        return numbers, first - numbers[0]


ALONE = TemporalDecoding()


@torch.no_grad()
def decode_frames(
    vae: AutoencoderKL,
    latents: Tensor,
    batch: int = 4,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
    temporal: TemporalDecoding = ALONE,
    frames: range | None = None,
) -> Iterator[Tensor]:
    """Scaled latents `[F, 4, h, w]` to frames in [0, 1], float32 on the CPU, `[n, 3, H, W]` at a time.

    batch: frames at a time; with a temporal decoder see `at_a_time`, and their neighbours go with them. device, dtype:
    where the network computes; by default where its weights are. frames: which of them are wanted; by default all.
    Raises InputError where values are not finite.
    """
    frames = range(len(latents)) if frames is None else frames
    batch = temporal.at_a_time(batch, latents.shape[-2] * latents.shape[-1] * vae_scale_factor(vae) ** 2)
    device, waiting = device or vae.device, None
    for first in range(frames.start, frames.stop, batch):
        last = min(first + batch, frames.stop)
        numbers, place = temporal.around(first, last, len(latents))
        part = (latents[numbers] / vae.config.scaling_factor).to(device, dtype or vae.dtype)
        with apply_temporal_decoder(vae, temporal.decoder, len(part), temporal.strength):
            decoded = vae.decode(part, return_dict=False)[0][place : place + last - first].float()
        ready = _to_cpu((decoded / 2 + 0.5).clamp(0, 1), decoded.isfinite().all())
        if device.type != "cuda":
            yield ready()
        else:
            if waiting is not None:
                yield waiting()
            waiting = ready
    if waiting is not None:
        yield waiting()


class StreamDecoder:
    """Clean latents of a stream on their way to pictures: decoded in their order, as soon as neighbours are there.

    count: frames of the stream. `decoded`: how many of them are. What no frame waits for is let go.
    """

    def __init__(self, count: int, temporal: TemporalDecoding):
        self.count, self.temporal, self.decoded = count, temporal, 0
        self._clean: dict[int, Tensor] = {}

    def take(self, finished: Finished) -> None:
        """Clean latents in any order."""
        self._clean.update(finished)

    def decode(self, vae: AutoencoderKL, batch: int) -> tuple[tuple[int, ...], Tensor | None]:
        """The frames that are ready and their pictures `[n, 3, H, W]`; None where there are none."""
        first, last = self.decoded, self._ready()
        if first == last:
            return (), None
        numbers, place = self.temporal.around(first, last, self.count)
        latents = torch.cat([self._clean[number] for number in numbers])
        wanted = range(place, place + last - first)
        # Its neighbours around the ends of a closed loop are among them now.
        temporal = replace(self.temporal, closed=False)
        pictures = torch.cat(list(decode_frames(vae, latents, batch, temporal=temporal, frames=wanted)))
        self.decoded = last
        kept = last - self.temporal.reach if last < self.count else last
        self._clean = {number: latent for number, latent in self._clean.items() if number >= kept}
        return tuple(range(first, last)), pictures

    def _ready(self) -> int:
        """Up to which frame the neighbours of all are there."""
        known = self.decoded
        while known in self._clean:
            known += 1
        if known == self.count:
            return known
        if self.temporal.closed and self.temporal.reach:
            return self.decoded
        return max(self.decoded, known - self.temporal.reach)

    def state(self) -> dict[str, Tensor]:
        """All there is to go on from, on the CPU; counts are float64, as files of tensors hold floats only."""
        numbers = {"decoded": [self.decoded], "clean_frame": list(self._clean)}
        tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
        return tensors | ({"clean": torch.cat(list(self._clean.values())).cpu()} if self._clean else {})

    def restore(self, state: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Go on from what `state` gave; device: where latents are."""
        self.decoded, numbers = int(state["decoded"]), state["clean_frame"].long().tolist()
        self._clean = dict(zip(numbers, state["clean"].to(device).split(1))) if numbers else {}


def _to_cpu(frames: Tensor, finite: Tensor) -> Callable[[], Tensor]:
    """Begin to copy frames to the CPU; a function that waits for them, so that the GPU decodes the next ones meanwhile.

    It raises InputError where they were not all finite.
    """
    on_gpu = frames.device.type == "cuda"
    frames, finite = frames.to("cpu", non_blocking=on_gpu), finite.to("cpu", non_blocking=on_gpu)
    copied = torch.cuda.current_stream().record_event() if on_gpu else None

    def wait() -> Tensor:
        if copied is not None:
            copied.synchronize()
        if not finite:
            raise InputError("The VAE gave values that are not finite: run it in float32, or take another one.")
        return frames

    return wait
