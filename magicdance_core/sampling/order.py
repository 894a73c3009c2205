"""The order in which the windows of all steps are computed.

A window at a step needs its frames as the previous step left them and nothing else. So there is a choice: all windows
of a step before the next step ("steps"), or "diagonal", where a frame proceeds to its next step as soon as all its
windows of the current one are done. The results are bit-identical; what differs is how many latents are in memory, and
when the first frame is ready.
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
"""frame -> its initial noise `[1, 4, h, w]`"""
Predict = Callable[[int, Window, Tensor], Tensor]
"""step, window, its frames' latents `[n, 4, h, w]` -> predictions of that shape"""
Advance = Callable[[int, tuple[int, ...], Tensor, Tensor], Tensor]
"""step, frames, their predictions and latents, both `[n, 4, h, w]` -> their latents after the step"""
Finished = list[tuple[int, Tensor]]
"""frames and their clean latents `[1, 4, h, w]`"""


@dataclass
class ActiveFrame:
    """A frame between its first and its last step.

    latent: `[1, 4, h, w]` after `step` steps. total, weight: weighted sum of the predictions of the windows done so far
    at this step, and the sum of their weights.
    """

    latent: Tensor
    step: int
    total: Tensor
    weight: float

    @classmethod
    def at(cls, step: int, latent: Tensor) -> "ActiveFrame":
        return cls(latent, step, torch.zeros_like(latent), 0.0)


class WindowSchedule:
    """Runs the windows of `frames` frames and `steps` steps in an order, and holds how far the run is.

    `active`: frames after their first window and before their last step; no other latents are kept. `state` and
    `restore` store and resume a run.
    """

    def __init__(self, windows: Windows | Batches, frames: int, steps: int, order: Order = "diagonal"):
        if order not in ORDERS:
            raise InputError(f"The order {order!r} is unknown: use {' or '.join(ORDERS)}.")
        self.windows, self.frames, self.steps, self.order = windows, frames, steps, order
        self.done = [0] * steps  # windows of each step
        self.finished = 0  # frames
        self.active: dict[int, ActiveFrame] = {}

    @property
    def total(self) -> int:
        """The number of windows of all steps."""
        return sum(self.windows.count(step, self.frames) for step in range(self.steps))

    @property
    def first(self) -> int:
        """The first unfinished frame; the number of frames if all are finished."""
        ahead = islice(self.windows.at(0, self.frames), self.done[0], None)
        return min(chain(self.active, (number for window in ahead for number in window.frames)), default=self.frames)

    def run(self, start: Start, predict: Predict, advance: Advance) -> Iterator[Finished]:
        """Yield groups of frames as they are finished; between two groups the state may be stored.

        A frame's prediction at a step is the weighted mean over its windows.
        """
        for step, window in self._pairs():
            for number in window.frames:
                if number not in self.active:
                    self.active[number] = ActiveFrame.at(0, start(number))
            inputs = [self.active[number] for number in window.frames]
            predictions = predict(step, window, torch.cat([frame.latent for frame in inputs]))
            for frame, weight, prediction in zip(inputs, window.weights, predictions.split(1)):
                frame.total = frame.total + weight * prediction
                frame.weight += weight
            ready = [self.active.pop(number) for number in window.done]
            if ready:
                means = torch.cat([frame.total / frame.weight for frame in ready])
                latents = advance(step, window.done, means, torch.cat([frame.latent for frame in ready])).split(1)
            self.done[step] += 1
            if ready and step + 1 < self.steps:
                self.active |= {
                    number: ActiveFrame.at(step + 1, latent) for number, latent in zip(window.done, latents)
                }
            elif ready:
                self.finished += len(ready)
                yield list(zip(window.done, latents))

    def skip(self, first: int) -> None:
        """Start at a frame that begins a batch; for independent frames only."""
        self.done, self.finished = [first // self.windows.length] * self.steps, first

    def state(self) -> dict[str, Tensor]:
        """Return what a resumed run needs, on the CPU, apart from the state of a scheduler.

        Windows done at each step, as float64, since tensor files hold floats only; `latent` and `total` of the active
        frames by their numbers. Everything else follows from the windows done.
        """
        tensors = {"done": torch.tensor(self.done, dtype=torch.float64)}
        if active := [self.active[number] for number in sorted(self.active)]:
            tensors |= {
                name: torch.cat([getattr(frame, name) for frame in active]).cpu() for name in ("latent", "total")
            }
        return tensors

    def restore(self, state: dict[str, Tensor], device: torch.device | str = "cpu") -> list[int]:
        """Continue from the result of `state` of the same windows, frames and steps; returns the finished frames.

        device: where latents are. Raises InputError if the state is not one of such a run.
        """
        done = state.get("done", torch.empty(0)).tolist()
        counts = [self.windows.count(step, self.frames) for step in range(self.steps)]
        if len(done) != self.steps or not all(n.is_integer() and 0 <= n <= most for n, most in zip(done, counts)):
            raise InputError("The stored state belongs to another run: start again.")
        self.done = [int(number) for number in done]
        steps_of, weights = self._replay()
        active = sorted(number for number, step in steps_of.items() if step < self.steps)
        shape = (len(active), *state["latent"].shape[1:]) if active and "latent" in state else None
        for name in ("latent", "total"):
            tensor = state.get(name)
            if (tensor is None and active) or (tensor is not None and tuple(tensor.shape) != shape):
                raise InputError("The stored state belongs to another run: start again.")
        rows = zip(active, *(state[name].to(device).split(1) for name in ("latent", "total"))) if active else ()
        self.active = {
            number: ActiveFrame(latent, steps_of[number], total, weights[number]) for number, latent, total in rows
        }
        finished = sorted(number for number, step in steps_of.items() if step == self.steps)
        self.finished = len(finished)
        return finished

    def _replay(self) -> tuple[dict[int, int], dict[int, float]]:
        """Return the step of every frame that has been in a window, and the weights of its windows at that step.

        Raises InputError if the windows done do not build on each other.
        """
        steps_of: dict[int, int] = {}
        weights: dict[int, float] = {}
        for step in range(self.steps):
            for window in islice(self.windows.at(step, self.frames), self.done[step]):
                for number, weight in zip(window.frames, window.weights):
                    if steps_of.setdefault(number, 0) != step:
                        raise InputError("The stored state belongs to another run: start again.")
                    weights[number] = weights.get(number, 0.0) + weight
                for number in window.done:
                    steps_of[number], weights[number] = step + 1, 0.0
        return steps_of, weights

    def _pairs(self) -> Iterator[tuple[int, Window]]:
        """Yield step and window in order, without those that are done."""
        ahead = [islice(self.windows.at(step, self.frames), self.done[step], None) for step in range(self.steps)]
        if self.order == "steps":
            yield from ((step, window) for step, windows in enumerate(ahead) for window in windows)
            return
        heads = [next(windows, None) for windows in ahead]
        while any(heads):
            # The furthest step first, which finishes frames.
            step, window = next(
                (step, window)
                for step, window in reversed(list(enumerate(heads)))
                if window is not None and self._is_ready(step, window)
            )
            yield step, window
            heads[step] = next(ahead[step], None)

    def _is_ready(self, step: int, window: Window) -> bool:
        return step == 0 or all(n in self.active and self.active[n].step == step for n in window.frames)


def preview(
    windows: Windows | Batches, frames: int, steps: int, start: Start, predict: Predict, advance: Advance
) -> Iterator[Finished]:
    """Yield frames of one window after the other, each through all steps, to preview a long run: the first frames are
    ready after `steps` windows. An approximation: frames in the overlap keep the latents of the earlier window.
    Frames are yielded when no later window needs them.
    """
    known: dict[int, list[Tensor]] = {}  # frame -> its latents before each step, and after the last
    if isinstance(windows, Windows):
        windows = replace(windows, shift=False, strides=(1,), closed=False, random=None)
    for window in windows.at(0, frames):
        latents_of = {frame: known.get(frame) or [start(frame)] for frame in window.frames}
        rows = [row for row, frame in enumerate(window.frames) if frame not in known]
        new = tuple(window.frames[row] for row in rows)
        for step in range(steps):
            latents = torch.cat([latents_of[frame][step] for frame in window.frames])
            predictions = predict(step, window, latents)[rows]
            for frame, latent in zip(new, advance(step, new, predictions, latents[rows]).split(1)):
                latents_of[frame].append(latent)
        yield [(frame, latents_of[frame][-1]) for frame in window.done]
        known = {frame: latents for frame, latents in latents_of.items() if frame not in window.done}


def in_frame_order(groups: Iterable[Finished]) -> Iterator[Tensor]:
    """Yield the latents of all frames in order from 0; frames that are ready too early wait."""
    waiting: dict[int, Tensor] = {}
    following = 0
    for group in groups:
        waiting.update(group)
        while following in waiting:
            yield waiting.pop(following)
            following += 1
