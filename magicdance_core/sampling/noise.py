"""The noise that frames start from and that some schedulers add at each step.

It depends on a frame's number alone, so that any frame of a video of any length can be sampled at any time, and again
after an interruption.
"""

from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from torch import Tensor

from ..choices import DEFAULT, NOISES
from ..errors import InputError
from ..models.motion_module import NoiseKind
from .windows import Windows

SHARED_VARIANCE = 0.5  # of mixed noise


def get_noise(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw standard normal noise, float32, on the CPU: the same for a seed on every machine.

    shape: `(1, 4, h, w)` for one noise that all frames start from, the published way, or `(F, 4, h, w)`.
    generator: on the CPU for that promise; one on another device draws there.
    """
    device = generator.device if generator is not None else "cpu"
    return torch.randn(shape, generator=generator, device=device).cpu()


def mix_noise(kind: NoiseKind, shared: Tensor, independent: Tensor) -> Tensor:
    """Combine noise `[1, 4, h, w]` shared by all frames with each frame's independent noise as the kind says."""
    if kind == "shared":
        return shared.expand_as(independent)
    if kind == "mixed":
        return SHARED_VARIANCE**0.5 * shared + (1 - SHARED_VARIANCE) ** 0.5 * independent
    return independent


@dataclass(frozen=True)
class FrameNoise:
    """Standard normal noise for the frames of a video.

    kind: "shared": all frames start from the same noise, as in MagicPose; "independent": each frame from its own, as
    AnimateDiff's modules were trained; "mixed": half the variance each (Ge et al., arXiv 2305.10474); "free": the
    noises of the first window repeated, permuted within each hop, so that every window sees the same noises (FreeNoise,
    Qiu et al., arXiv 2310.15169).
    shared: `[1, 4, h, w]`, float32, on the CPU. seed: of everything drawn besides it.
    length, overlap: of the windows, for "free".
    given: initial noise of each frame, `[F, 4, h, w]`, in place of what the kind would draw.
    """

    kind: NoiseKind
    shared: Tensor
    seed: int
    length: int = 16
    overlap: int = 4
    given: Tensor | None = None

    def __post_init__(self):
        known = [kind for kind in NOISES if kind != DEFAULT]
        if self.kind not in known:
            raise InputError(f"The noise {self.kind!r} is unknown: use one of {', '.join(known)}.")

    @property
    def is_shared(self) -> bool:
        """Whether all frames start from the same noise."""
        return self.kind == "shared" and self.given is None

    def start(self, frame: int) -> Tensor:
        """Return a frame's initial noise, `[1, 4, h, w]`."""
        if self.given is not None:
            return self.given[frame][None]
        if self.kind == "free":
            return self._draw(0, self._repeated(frame))
        return self._mix(self.shared, 0, frame)

    def at_step(self, step: int, frame: int) -> Tensor:
        """Return the noise that a scheduler adds to a frame at a step (from 0), `[1, 4, h, w]`."""
        return self._mix(self._draw(step + 1), step + 1, frame)

    def generator(self, step: int, frame: int) -> torch.Generator:
        """Return a generator for schedulers that draw themselves; one for all frames if the noise is shared."""
        return self._generator(step + 1, None if self.kind == "shared" else frame)

    def _mix(self, shared: Tensor, step: int, frame: int) -> Tensor:
        if self.kind == "shared":
            return shared
        return mix_noise(self.kind, shared, self._draw(step, frame))

    def _repeated(self, frame: int) -> int:
        """Return which of the first window's noises a frame repeats."""
        unit = gcd(self.length, self.length - self.overlap)
        number, offset = divmod(frame, unit)
        if number * unit >= self.length:
            offset = int(np.random.default_rng((self.seed, number)).permutation(unit)[offset])
        return number * unit % self.length + offset

    def _draw(self, step: int, frame: int | None = None) -> Tensor:
        return torch.randn(self.shared.shape, generator=self._generator(step, frame))

    def _generator(self, step: int, frame: int | None) -> torch.Generator:
        key = (self.seed, step, 0 if frame is None else frame + 1)
        state = np.random.SeedSequence(key).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def make_noise(
    kind: NoiseKind, shared: Tensor, windows: Windows | None = None, generator: torch.Generator | None = None
) -> FrameNoise:
    """Return noise of a kind; the generator seeds what frames do not share, "free" follows the windows."""
    windows = windows or Windows()
    shared = shared if shared.is_meta else shared.cpu()  # the benchmark counts a run without values
    return FrameNoise(kind, shared, _seed(generator), windows.length, windows.overlap)


def noise_from_latents(latents: Tensor, generator: torch.Generator | None = None) -> FrameNoise:
    """Return noise whose initial values are given: `[1, 4, h, w]` for all frames, or `[F, 4, h, w]`.

    generator: seeds what schedulers add at each step, which frames share as they share the initial noise.
    """
    if len(latents) == 1:
        return make_noise("shared", latents, generator=generator)
    return FrameNoise("independent", latents[:1].cpu(), _seed(generator), given=latents)


def _seed(generator: torch.Generator | None) -> int:
    return int(torch.randint(2**62, (), generator=generator, device="cpu" if generator is None else generator.device))
