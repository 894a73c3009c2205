"""In which order the windows of all steps are computed, and the walk along that order.

A window of a step needs its frames as the step before left them, nothing else. So there is a choice: all windows of a
step before the next step, or *diagonal*, where a frame goes on to its next step as soon as its windows of this one are
in. The result is the same to the bit; what differs is how many latents are alive, and when the first frame is ready.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

import torch
from torch import Tensor

from ..errors import InputError
from .windows import Batches, Window, Windows

Order = Literal["steps", "diagonal"]
ORDERS: tuple[Order, ...] = ("steps", "diagonal")


Start = Callable[[int], Tensor]
"""frame -> the noise `[1, 4, h, w]` that it starts from"""
Predict = Callable[[int, Window, Tensor], Tensor]
"""step, window, its frames' latents `[n, 4, h, w]` -> predictions of that shape"""
Advance = Callable[[int, tuple[int, ...], Tensor, Tensor], Tensor]
"""step, frames, their predictions and latents, both `[n, 4, h, w]` -> their latents after the step"""
Finished = list[tuple[int, Tensor]]
"""frames and their clean latents `[1, 4, h, w]`"""


@dataclass
class Alive:
    """A frame between its first and its last step.

    latent: `[1, 4, h, w]` after `step` steps. total, weight: the weighted sum of what the windows that have seen it at
    this step predict, and the sum of their weights.
    """

    latent: Tensor
    step: int
    total: Tensor
    weight: float

    @classmethod
    def at(cls, step: int, latent: Tensor) -> "Alive":
        return cls(latent, step, torch.zeros_like(latent), 0.0)


class Walk:
    """A run over `frames` frames and `steps` steps, and how far it is; `state` and `restore` store it and bring it on.

    What is alive: frames after their first window and before their last step, `alive`; nothing else is kept.
    """

    def __init__(self, windows: Windows | Batches, frames: int, steps: int, order: Order = "diagonal"):
        if order not in ORDERS:
            raise InputError(f"The order {order!r} is unknown: use {' or '.join(ORDERS)}.")
        self.windows, self.frames, self.steps, self.order = windows, frames, steps, order
        self.done = [0] * steps  # windows of each step
        self.finished = 0  # frames
        self.alive: dict[int, Alive] = {}

    @property
    def total(self) -> int:
        """Windows of all steps."""
        return sum(self.windows.count(step, self.frames) for step in range(self.steps))

    @property
    def first(self) -> int:
        """The first frame that is not finished; their number where all are."""
        ahead = islice(self.windows.at(0, self.frames), self.done[0], None)
        return min(chain(self.alive, (number for window in ahead for number in window.frames)), default=self.frames)

    def run(self, start: Start, predict: Predict, advance: Advance) -> Iterator[Finished]:
        """Frames as they become ready, in bunches. Between two bunches the walk may be stored.

        A frame's prediction at a step is the weighted mean over its windows.
        """
        for step, window in self._pairs():
            for number in window.frames:
                if number not in self.alive:
                    self.alive[number] = Alive.at(0, start(number))
            seen = [self.alive[number] for number in window.frames]
            predictions = predict(step, window, torch.cat([frame.latent for frame in seen]))
            for frame, weight, prediction in zip(seen, window.weights, predictions.split(1)):
                frame.total = frame.total + weight * prediction
                frame.weight += weight
            ready = [self.alive.pop(number) for number in window.done]
            if ready:
                means = torch.cat([frame.total / frame.weight for frame in ready])
                latents = advance(step, window.done, means, torch.cat([frame.latent for frame in ready])).split(1)
            self.done[step] += 1
            if ready and step + 1 < self.steps:
                self.alive |= {number: Alive.at(step + 1, latent) for number, latent in zip(window.done, latents)}
            elif ready:
                self.finished += len(ready)
                yield list(zip(window.done, latents))

    def state(self) -> dict[str, Tensor]:
        """All there is to go on from, on the CPU, but for what `advance` may remember; counts are float64, as files of
        tensors hold floats only."""
        alive = list(self.alive.values())
        numbers = {"frame": list(self.alive), "step": [frame.step for frame in alive]}
        numbers |= {"done": self.done, "finished": [self.finished]}
        numbers["weight"] = [frame.weight for frame in alive]
        tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()}
        if alive:
            tensors |= {
                name: torch.cat([getattr(frame, name) for frame in alive]).cpu() for name in ("latent", "total")
            }
        return tensors

    def restore(self, state: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Go on from what `state` gave for a walk of the same windows, frames and steps. device: where latents are."""
        state = state | {name: state[name].to(device) for name in ("latent", "total") if name in state}
        self.done, self.finished = state["done"].long().tolist(), int(state["finished"])
        rows = zip(state["frame"].long().tolist(), state["step"].long().tolist(), state["weight"].tolist())
        self.alive = {
            frame: Alive(state["latent"][row : row + 1], step, state["total"][row : row + 1], weight)
            for row, (frame, step, weight) in enumerate(rows)
        }

    def _pairs(self) -> Iterator[tuple[int, Window]]:
        """Step and window in the walk's order, those that are done left out."""
        ahead = [islice(self.windows.at(step, self.frames), self.done[step], None) for step in range(self.steps)]
        if self.order == "steps":
            yield from ((step, window) for step, windows in enumerate(ahead) for window in windows)
            return
        heads = [next(windows, None) for windows in ahead]
        while any(heads):
            # The furthest step first: that is what lets frames go.
            step = next(s for s in reversed(range(self.steps)) if heads[s] and self._is_ready(s, heads[s]))
            yield step, heads[step]
            heads[step] = next(ahead[step], None)

    def _is_ready(self, step: int, window: Window) -> bool:
        return step == 0 or all(n in self.alive and self.alive[n].step == step for n in window.frames)


def preview(
    windows: Windows | Batches, frames: int, steps: int, start: Start, predict: Predict, advance: Advance
) -> Iterator[Finished]:
    """One window after the other through all steps, for a first look at a long run: the first frames are ready after
    `steps` windows. An approximation: frames that a window shares with the one before stay on the way they went there.
    As in the walk, frames come when no later window needs them.
    """
    known: dict[int, list[Tensor]] = {}  # frame -> its latents before each step, and after the last
    if isinstance(windows, Windows):
        windows = replace(windows, shift=False, strides=(1,), closed=False, random=None)
    for window in windows.at(0, frames):
        way = {frame: known.get(frame) or [start(frame)] for frame in window.frames}
        rows = [row for row, frame in enumerate(window.frames) if frame not in known]
        fresh = tuple(window.frames[row] for row in rows)
        for step in range(steps):
            latents = torch.cat([way[frame][step] for frame in window.frames])
            predictions = predict(step, window, latents)[rows]
            for frame, latent in zip(fresh, advance(step, fresh, predictions, latents[rows]).split(1)):
                way[frame].append(latent)
        yield [(frame, way[frame][-1]) for frame in window.done]
        known = {frame: latents for frame, latents in way.items() if frame not in window.done}


def in_turn(bunches: Iterable[Finished]) -> Iterator[Tensor]:
    """The latents of all frames from 0 on, one after the other; what comes too early waits."""
    waiting: dict[int, Tensor] = {}
    following = 0
    for bunch in bunches:
        waiting.update(bunch)
        while following in waiting:
            yield waiting.pop(following)
            following += 1
