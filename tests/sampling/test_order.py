from itertools import product

import pytest
import torch

from magicdance_core.errors import InputError
from magicdance_core.sampling.order import WindowSchedule, in_frame_order, preview
from magicdance_core.sampling.windows import Windows

SHAPE = (1, 2, 2, 2)


class Toy:
    """A stand-in network that mixes the frames of a window, each with its place, and a step that needs the frame's own
    latent: whatever reached the wrong place would show."""

    def __init__(self):
        self.calls = []
        self.most = 0

    def start(self, frame):
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(frame))

    def predict(self, step, window, latents):
        self.calls.append((step, window.frames))
        place = torch.arange(1.0, len(latents) + 1).reshape(-1, 1, 1, 1)
        return torch.sin(latents * place) + 0.3 * latents.mean(0, keepdim=True) + 0.01 * step

    def advance(self, step, frames, predictions, latents):
        assert len(frames) == len(predictions) == len(latents)
        return 0.8 * latents - 0.1 * predictions

    def run(self, schedule):
        return torch.cat(list(in_frame_order(schedule.run(self.start, self.predict, self.advance))))


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("strides", [(1,), (1, 2)])
def test_both_orders_give_the_same(closed, strides):
    for frames, (length, overlap), steps in product((1, 5, 23, 61), ((4, 1), (8, 0), (8, 6)), (1, 4)):
        windows = Windows(length, overlap, strides, closed=closed)
        toys = Toy(), Toy()
        outs = [
            toy.run(WindowSchedule(windows, frames, steps, order)) for toy, order in zip(toys, ("steps", "diagonal"))
        ]
        assert len(outs[0]) == frames and torch.equal(*outs)
        assert sorted(toys[0].calls) == sorted(toys[1].calls)
        assert len(toys[0].calls) == WindowSchedule(windows, frames, steps).total


def test_by_hand():
    """Two windows, two steps, written out."""
    toy, windows = Toy(), Windows(3, 1, shift=False, weights="ramps")
    latents = torch.cat([toy.start(frame) for frame in range(5)])
    for step in range(2):
        first, second = (toy.predict(step, w, latents[list(w.frames)]) for w in windows.at(step, 5))
        middle = (first[2:] * 0.5 + second[:1] * 0.5) / (0.5 + 0.5)
        latents = 0.8 * latents - 0.1 * torch.cat([first[:2], middle, second[1:]])
    assert torch.allclose(Toy().run(WindowSchedule(windows, 5, 2)), latents)


def alive_and_first(frames, steps, **options):
    schedule, toy, most, first = WindowSchedule(Windows(**options), frames, steps), Toy(), 0, None
    toy.start = lambda frame: torch.zeros(SHAPE)
    toy.predict = lambda step, window, latents: (toy.calls.append(step), latents)[1]
    for _ in schedule.run(toy.start, toy.predict, toy.advance):
        most, first = max(most, len(schedule.active)), first or len(toy.calls)
    return most, first


def test_memory_is_flat():
    """Latents alive and windows before the first frame, whatever the length."""
    assert alive_and_first(250, 20) == alive_and_first(400, 20) == (111, 109)
    assert alive_and_first(400, 20, shift=False)[0] > 200


def test_poses_of_frames_to_come_are_not_skipped():
    """By strides and around loops, frames may finish before earlier ones have begun."""
    for strides, loop, steps in product(
        [(1,), (2,), (1, 3)], [{}, {"closed": True}, {"closed": True, "random": 3}], (1, 3)
    ):
        schedule, toy, left = WindowSchedule(Windows(8, 3, strides, **loop), 40, steps), Toy(), set(range(40))
        for group in schedule.run(toy.start, toy.predict, toy.advance):
            left -= {frame for frame, _ in group}
            assert schedule.first == min(left, default=40)


@pytest.mark.parametrize("order", ["steps", "diagonal"])
def test_resumes_from_any_stored_state(order):
    windows = Windows(8, 3)
    whole = Toy().run(WindowSchedule(windows, 40, 6, order))
    schedule, toy, states, made = WindowSchedule(windows, 40, 6, order), Toy(), [], {}
    for group in schedule.run(toy.start, toy.predict, toy.advance):
        made.update(group)
        states.append((schedule.state(), dict(made), len(toy.calls)))
    for state, before, calls in states:
        again, toy = WindowSchedule(windows, 40, 6, order), Toy()
        again.restore({name: tensor.clone() for name, tensor in state.items()})
        for group in again.run(toy.start, toy.predict, toy.advance):
            before.update(group)
        assert torch.equal(torch.cat([before[frame] for frame in range(40)]), whole)
        assert calls + len(toy.calls) == schedule.total  # nothing is computed again


def test_preview_begins_at_once_and_agrees_within_its_first_window():
    toy, windows = Toy(), Windows(8, 3)
    groups = preview(windows, 30, 5, toy.start, toy.predict, toy.advance)
    first = next(groups)
    assert [frame for frame, _ in first] == list(range(5)) and len(toy.calls) == 5
    alone = Toy().run(WindowSchedule(windows, 8, 5))
    assert torch.allclose(torch.cat([latent for _, latent in first]), alone[:5], atol=1e-6)
    later = [frame for group in groups for frame, _ in group]
    assert later == list(range(5, 30))


def test_unknown_order():
    with pytest.raises(InputError, match="steps or diagonal"):
        WindowSchedule(Windows(), 10, 2, "spiral")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("done"),
        lambda state: state.pop("latent"),
        lambda state: state.update(done=state["done"] + 0.5),
        lambda state: state.update(done=state["done"] + 1e6),
        lambda state: state.update(done=state["done"].flip(0)),
        lambda state: state.update(done=state["done"][:-1]),
        lambda state: state.update(total=state["total"][1:]),
        lambda state: state.update(latent=torch.cat([state["latent"]] * 2)),
    ],
)
def test_inconsistent_states_are_refused(change):
    windows, toy = Windows(8, 3), Toy()
    schedule = WindowSchedule(windows, 40, 6)
    next(schedule.run(toy.start, toy.predict, toy.advance))
    state = schedule.state()
    assert WindowSchedule(windows, 40, 6).restore(state) == list(range(schedule.finished))
    change(state)
    with pytest.raises(InputError, match="belongs to another run"):
        WindowSchedule(windows, 40, 6).restore(state)
