"""The noise that frames start from, and that some schedulers add on the way: of each frame by its number alone, so that
any frame of any length can be made at any time, and again after an interruption."""

from dataclasses import dataclass
from math import gcd

import numpy as np
import torch
from torch import Tensor

from ..choices import DEFAULT, NOISES
from ..errors import InputError
from ..models.motion_module import NoiseKind
from .windows import Windows

SHARED_PART = 0.5  # of the variance of mixed noise


def mix_noise(kind: NoiseKind, shared: Tensor, own: Tensor) -> Tensor:
    """Standard normal noise like `own`, of which frames share what the kind says; shared: `[1, 4, h, w]`."""
    if kind == "shared":
        return shared.expand_as(own)
    return SHARED_PART**0.5 * shared + (1 - SHARED_PART) ** 0.5 * own if kind == "mixed" else own


@dataclass(frozen=True)
class FrameNoise:
    """Standard normal noise for the frames of a video.

    kind: "shared": all frames start from one noise, as MagicPose does; "independent": each from its own, as
    AnimateDiff's modules were trained; "mixed": half the variance each (Ge et al., arXiv 2305.10474); "free": the
    noises of the first window again and again, in another order within each hop, so that every window sees the same
    noises (FreeNoise, Qiu et al., arXiv 2310.15169).
    shared: `[1, 4, h, w]`, float32, on the CPU. seed: of all that is drawn beside it.
    length, overlap: of the windows, for "free".
    """

    kind: NoiseKind
    shared: Tensor
    seed: int
    length: int = 16
    overlap: int = 4

    def __post_init__(self):
        known = [kind for kind in NOISES if kind != DEFAULT]
        if self.kind not in known:
            raise InputError(f"The noise {self.kind!r} is unknown: use one of {', '.join(known)}.")

    def start(self, frame: int) -> Tensor:
        """What a frame starts from, `[1, 4, h, w]`."""
        if self.kind == "free":
            return self._draw(0, self._repeated(frame))
        return self._mix(self.shared, 0, frame)

    def on_the_way(self, step: int, frame: int) -> Tensor:
        """What a frame is given at a step counted from 0, `[1, 4, h, w]`."""
        return self._mix(self._draw(step + 1), step + 1, frame)

    def generator(self, step: int, frame: int) -> torch.Generator:
        """For schedulers that draw for themselves: the same for all frames of a step if the noise is shared."""
        return self._generator(step + 1, None if self.kind == "shared" else frame)

    def _mix(self, shared: Tensor, step: int, frame: int) -> Tensor:
        if self.kind == "shared":
            return shared
        return mix_noise(self.kind, shared, self._draw(step, frame))

    def _repeated(self, frame: int) -> int:
        """Which of the first window's noises a frame has."""
        unit = gcd(self.length, self.length - self.overlap)
        number, place = divmod(frame, unit)
        if number * unit >= self.length:
            place = int(np.random.default_rng((self.seed, number)).permutation(unit)[place])
        return number * unit % self.length + place

    def _draw(self, step: int, frame: int | None = None) -> Tensor:
        return torch.randn(self.shared.shape, generator=self._generator(step, frame))

    def _generator(self, step: int, frame: int | None) -> torch.Generator:
        key = (self.seed, step, 0 if frame is None else frame + 1)
        state = np.random.SeedSequence(key).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def make_noise(
    kind: NoiseKind, shared: Tensor, windows: Windows | None = None, generator: torch.Generator | None = None
) -> FrameNoise:
    """Noise of a kind; what frames do not share is seeded by the generator, "free" follows the windows."""
    device = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    windows = windows or Windows()
    shared = shared if shared.is_meta else shared.cpu()  # the benchmark counts a run without values
    return FrameNoise(kind, shared, seed, windows.length, windows.overlap)
