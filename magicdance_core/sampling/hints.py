"""The Pose ControlNet in a run: pose maps are encoded when their frame starts and dropped when it is finished."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor

from ..models import Networks, PoseControlNet, PoseResiduals, read_pose
from .guidance import GuidanceBranch

BLOCK = 8  # maps encoded at once; always the same ones together, so that a resumed run computes the same values
MAX_RESIDENT_BYTES = 2**28
"""What stays on the device: hints of 100 frames of 512 x 512 in float16, residuals of 20."""


@torch.no_grad()
def encode_poses(
    pose_net: PoseControlNet,
    maps: Tensor,
    batch: int = 8,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Encode pose maps `[F, 3, H, W]`, RGB in [0, 1], as hints `[F, C, h, w]`, which are valid at every step.

    device, dtype: where the network computes and the hints are; by default where its weights are.
    """
    device, dtype = device or pose_net.device, dtype or pose_net.dtype
    return torch.cat([pose_net.encode_pose(part.to(device, dtype)) for part in maps.split(batch)])


class Hints:
    """Encoded pose maps (or pictures) `[1, C, h, w]` of frames by number, read from an iterator.

    They stay on the device they were encoded on; what exceeds MAX_RESIDENT_BYTES waits on the CPU, for a GPU in pinned
    memory, from which it is copied asynchronously.

    poses: maps `[1, 3, H, W]` of frames 0, 1, 2, ... encode: maps `[n, 3, H, W]` -> hints `[n, C, h, w]` on the device
    where they are needed. block: n.
    """

    def __init__(self, poses: Iterable[Tensor], encode: Callable[[Tensor], Tensor], block: int = BLOCK):
        self._poses: Iterator[Tensor] = iter(poses)
        self._encode, self._block = encode, block
        self._read, self._resident_bytes = 0, 0
        self._hints: dict[int, Tensor] = {}

    @classmethod
    def from_encoded(cls, hints: Tensor, like: Tensor) -> "Hints":
        """Hints `[F, C, h, w]` that are encoded already; they take the device and dtype of `like` when needed."""
        return cls(hints.split(1), lambda encoded: encoded.to(like))

    def skip(self, first: int) -> None:
        """Skip the frames before `first`, which a resumed run does not need."""
        self._read = first // self._block * self._block
        for _ in islice(self._poses, self._read):
            pass

    def take(self, frames: tuple[int, ...]) -> Tensor:
        """Return hints `[n, C, h, w]` of n frames, none of them dropped before, on their device."""
        while self._read <= max(frames):
            self._read_block()
        return torch.cat([self._hints[frame].to(self._device, non_blocking=True) for frame in frames])

    def drop(self, frames: Iterable[int]) -> None:
        """Drop the hints of finished frames."""
        for frame in frames:
            hint = self._hints.pop(frame, None)
            if hint is not None and hint.device == self._device:
                self._resident_bytes -= hint.nbytes

    def _read_block(self) -> None:
        maps = list(islice(self._poses, self._block))
        if not maps:
            raise IndexError(f"there are only {self._read} poses")
        hints = self._encode(torch.cat(maps))
        self._device = hints.device
        for hint in hints.split(1):
            self._hints[self._read] = self._store(hint)
            self._read += 1

    def _store(self, hint: Tensor) -> Tensor:
        if self._resident_bytes + hint.nbytes <= MAX_RESIDENT_BYTES:
            self._resident_bytes += hint.nbytes
            return hint
        hint = hint.cpu()
        return hint.pin_memory() if self._device.type == "cuda" else hint


class ResidualCache:
    """Residuals of the Pose ControlNet by frame; between its runs, `every` steps apart, the last ones are reused."""

    def __init__(self, networks: Networks, hints: Hints | None, every: int = 1):
        self._networks, self._hints, self._every = networks, hints, every
        self._residuals: dict[tuple[int, int], tuple[int, PoseResiduals]] = {}

    def get(
        self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], latents: Tensor, timestep: Tensor
    ) -> PoseResiduals | None:
        """Return the residuals of n frames with noisy latents `[n, 4, h, w]`; None where the ControlNet is inactive."""
        if not branch.pose_strength or self._hints is None:
            return None
        if self._every == 1:
            return self._compute(branch, frames, latents, timestep)
        interval = step // self._every
        rows = [row for row, frame in enumerate(frames) if self._interval(frame, branch) != interval]
        if rows:
            stale = tuple(frames[row] for row in rows)
            residuals = self._compute(branch, stale, latents if len(stale) == len(frames) else latents[rows], timestep)
            for frame, part in zip(stale, _rows(residuals)):
                self._residuals[frame, id(branch.context)] = interval, part
        return _joined([self._residuals[frame, id(branch.context)][1] for frame in frames])

    def drop(self, frames: list[int]) -> None:
        """Drop the residuals of finished frames."""
        self._residuals = {key: value for key, value in self._residuals.items() if key[0] not in frames}

    def _interval(self, frame: int, branch: GuidanceBranch) -> int | None:
        cached = self._residuals.get((frame, id(branch.context)))
        return None if cached is None else cached[0]

    def _compute(
        self, branch: GuidanceBranch, frames: tuple[int, ...], latents: Tensor, timestep: Tensor
    ) -> PoseResiduals:
        assert self._hints is not None
        hints = self._hints.take(frames)
        residuals = read_pose(self._networks, latents, timestep, branch.context, hints, branch.pose_strength)
        assert residuals is not None
        return residuals


class PeopleApart:
    """Residuals of the Pose ControlNet for each of several people alone.

    They are computed once a frame and person, from the frame's initial noise: measured on puppets, that is as good as
    computing them at each step, and a resumed run repeats it to the bit. What exceeds MAX_RESIDENT_BYTES waits on the
    CPU.

    hints: of each person.
    """

    def __init__(self, networks: Networks, hints: tuple[Hints, ...]):
        self._networks, self._hints = networks, hints
        self._residuals: dict[tuple[int, int, int, float], PoseResiduals] = {}
        self._resident_bytes = 0

    def residuals(
        self,
        person: int,
        branch: GuidanceBranch,
        frames: tuple[int, ...],
        start: Callable[[int], tuple[Tensor, Tensor]],
    ) -> PoseResiduals | None:
        """Return the residuals of one person in n frames; None where the ControlNet is inactive.

        start: frame -> its first input `[1, 4, h, w]` and the first timestep.
        """
        if not branch.pose_strength:
            return None
        parts = []
        for frame in frames:
            key = frame, person, id(branch.context), branch.pose_strength
            if key not in self._residuals:
                hints = self._hints[person].take((frame,))
                made = read_pose(self._networks, *start(frame), branch.context, hints, branch.pose_strength)
                assert made is not None
                self._residuals[key] = self._store(made)
            parts.append(_to(self._residuals[key], branch.context.device))
        return _joined(parts)

    def drop(self, frames: list[int]) -> None:
        """Drop what is kept of frames that are predicted alone no longer."""
        for key in [key for key in self._residuals if key[0] in frames]:
            residuals = self._residuals.pop(key)
            if residuals.mid.device == self._device:
                self._resident_bytes -= _bytes(residuals)
        for hints in self._hints:
            hints.drop(frames)

    def _store(self, residuals: PoseResiduals) -> PoseResiduals:
        self._device = residuals.mid.device
        if self._resident_bytes + _bytes(residuals) > MAX_RESIDENT_BYTES and not residuals.mid.is_meta:
            return _to(residuals, torch.device("cpu"))
        self._resident_bytes += _bytes(residuals)
        return residuals


def _bytes(residuals: PoseResiduals) -> int:
    return sum(part.nbytes for part in (*residuals.down, residuals.mid))


def _to(residuals: PoseResiduals, device: torch.device) -> PoseResiduals:
    return PoseResiduals(tuple(part.to(device) for part in residuals.down), residuals.mid.to(device))


def _joined(parts: Sequence[PoseResiduals]) -> PoseResiduals:
    return PoseResiduals(tuple(map(torch.cat, zip(*(p.down for p in parts)))), torch.cat([p.mid for p in parts]))


def _rows(residuals: PoseResiduals) -> list[PoseResiduals]:
    down = zip(*(part.split(1) for part in residuals.down))
    return [PoseResiduals(parts, mid) for parts, mid in zip(down, residuals.mid.split(1))]
