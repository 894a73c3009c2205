"""How a run meets its device: what is copied, asked and called. Where there is no GPU, the meta device counts."""

import sys
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from magicdance_core.models import MotionModule, Networks
from magicdance_core.sampling import Control, Windows, hints
from magicdance_core.sampling.denoise import Denoiser
from magicdance_core.sampling.steps import FiniteCheck

FRAMES, STEPS = 5, 3


class Watch(TorchDispatchMode):
    """Counts operators, and copies from one device to another."""

    def __init__(self):
        super().__init__()
        self.calls, self.copies = 0, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **kwargs or {})
        self.calls += 1
        sources = {arg.device.type for arg in args if isinstance(arg, torch.Tensor) and arg.dim()}
        if isinstance(result, torch.Tensor) and sources and result.device.type not in sources:
            self.copies += 1
        return result


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def run(controlled):
    return controlled(FRAMES, STEPS, width=6, frames_per_batch=2)


def test_nothing_is_copied_within_a_step(run):
    """Before: the hints of every batch and the timestep of every call, at every step."""
    for network in vars(run.inputs["networks"]).values():
        if network is not None:
            torch.nn.Module.to(network, "meta")
    copies = []
    with Watch() as watch:
        run(
            context=run.inputs["context"].to("meta"),
            callback=lambda progress: copies.append(watch.copies) if progress.frame == FRAMES else None,
        )
    assert len(copies) == STEPS and copies[0] > 0
    assert copies[0] == copies[1] == copies[2]


def test_hints_that_outgrow_the_device_wait_beside_it(run, monkeypatch):
    resident = run()
    monkeypatch.setattr(hints, "MAX_RESIDENT_BYTES", run.inputs["hints"][:2].nbytes)
    assert torch.equal(run(), resident)


def test_values_are_checked_once_a_step(run, monkeypatch):
    checked, check = [], FiniteCheck.check
    monkeypatch.setattr(FiniteCheck, "check", lambda self: (checked.append(len(self._finite)), check(self)))
    run()
    assert checked == [1] * STEPS  # three batches a step


def test_a_preview_costs_nothing_unless_it_is_looked_at(run, monkeypatch):
    made = []
    monkeypatch.setattr(sys.modules[Denoiser.__module__], "predict_x0", lambda *args: made.append(args))
    run(callback=lambda progress: progress.frame == 2 and progress.denoised)
    assert len(made) == STEPS


@pytest.fixture
def motion():
    torch.manual_seed(1)
    return MotionModule(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2,
        motion_norm_num_groups=8, motion_max_seq_length=4,
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"noise": draw(FRAMES, 4, 4, 6), "appearance_control": Control(0.5), "reference": draw(2, 4, 4, 4)},
        {"control_mode": "balance", "uncond_context": draw(1, 3, 12, seed=3)},
        {
            "pose_control": Control(0.0),
            "appearance_control": Control(0.0, 0.0, 0.5),
            "uncond_context": draw(1, 3, 12, seed=3),
        },
        {"module": True},
        {"module": True, "motion_in_uncond": True},
    ],
    ids=["published", "independent noise", "balance", "texts", "motion", "motion in both"],
)
def test_batched_guidance_gives_the_same(run, motion, options):
    if options.get("module"):
        networks = Networks(*list(vars(run.inputs["networks"]).values())[:3], motion)
        options = {"networks": networks, "windows": Windows(4, 2)} | {k: v for k, v in options.items() if k != "module"}
    apart, rows = run(**options), Counter()
    hook = run.inputs["networks"].unet.register_forward_pre_hook(lambda module, args: rows.update([len(args[0])]))
    together = run(batched_guidance=True, **options)
    hook.remove()
    assert torch.allclose(together, apart, atol=2e-5)
    both = "windows" not in options or "motion_in_uncond" in options
    assert (max(rows) == 2 * (4 if "windows" in options else 2)) == both


def test_batched_guidance_halves_the_calls(run):
    passes, calls = [], []
    run.inputs["networks"].unet.register_forward_pre_hook(lambda module, args: passes.append(len(args[0])))
    for batched_guidance in (False, True):
        with Watch() as watch:
            run(batched_guidance=batched_guidance, noise=draw(FRAMES, 4, 4, 6))
        calls.append((len(passes), watch.calls))
        passes.clear()
    (apart, many), (together, few) = calls
    assert together == apart / 2 and few < 0.8 * many  # the others read reference and poses, and step the schedule
