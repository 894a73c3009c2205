"""What shortcuts leave out, what they keep, and that nothing is left out unless asked for."""

from collections import Counter

import pytest
import torch
from calls import with_settings
from torch.utils.flop_counter import FlopCounterMode

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.choices import PRESETS as NAMES
from magicdance_core.choices import SCHEDULERS
from magicdance_core.evaluation.arithmetic import count_costs
from magicdance_core.models import Networks
from magicdance_core.sampling import PRESETS, Control, Shortcuts, Windows
from magicdance_core.schedule import named_scheduler

FRAMES, STEPS = 4, 6


def draw(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def run(controlled):
    return controlled(FRAMES, STEPS)


@pytest.fixture
def rows(tiny):
    """How many rows each network has seen."""
    counts = Counter()
    for name in ("unet", "appearance", "pose"):
        getattr(tiny, name).register_forward_pre_hook(
            lambda module, args, name=name: counts.update({name: len(args[0])})
        )
    return counts


def test_guidance_within_an_interval(run, rows):
    exact = run()
    rows.clear()
    assert torch.equal(run(shortcuts=Shortcuts(guidance=(0.0, 0.0))), run(guidance_scale=1.0))
    rows.clear()
    part = run(shortcuts=Shortcuts(guidance=(0.5, 1.0)))
    assert rows["unet"] == FRAMES * (STEPS + 3) and not torch.equal(part, exact)
    two = run(num_inference_steps=1, shortcuts=Shortcuts(guidance=(0.0, 0.5)))
    assert torch.equal(two, run(num_inference_steps=1))  # its only step is inside


def test_the_reference_is_read_every_so_many_steps(run, rows):
    out = run(shortcuts=Shortcuts(reference_every=4))
    assert rows["appearance"] == 2 and rows["unet"] > 0
    assert not torch.equal(out, run())


@pytest.mark.parametrize("options", [{}, {"control_mode": "balance", "uncond_context": draw(1, 3, 12, seed=3)}])
def test_what_the_pose_said_last_stands(run, rows, options):
    halves = 2 if options else 1
    out = run(shortcuts=Shortcuts(pose_every=3), **options)
    assert rows["pose"] == halves * 2 * FRAMES
    parts = run(shortcuts=Shortcuts(pose_every=3), frames_per_batch=3, **options)
    assert torch.allclose(out, parts, atol=1e-4) and not torch.allclose(out, run(**options), atol=1e-4)
    assert torch.equal(run(shortcuts=Shortcuts(pose_every=1), **options), run(**options))


def test_frames_alive_together_share_what_was_said(run, rows, tiny):
    """Windows of a motion module lie elsewhere at every step; each frame still has its own turn."""
    from magicdance_core.models import MotionModule

    tiny.motion = MotionModule(
        block_out_channels=(16, 32), motion_layers_per_block=1, motion_num_attention_heads=2,
        motion_norm_num_groups=8, motion_max_seq_length=4,
    ).eval()  # fmt: skip
    networks = Networks(tiny.unet, tiny.appearance, tiny.pose, tiny.motion)
    hints = run.inputs["hints"].repeat(2, 1, 1, 1)
    options = {"networks": networks, "hints": hints, "windows": Windows(4, 2), "shortcuts": Shortcuts(pose_every=3)}
    out = run(**options)
    assert rows["pose"] == 2 * 2 * FRAMES  # two turns, also for frames in two windows
    assert torch.allclose(out, run(**options, order="diagonal"), atol=1e-5)


@pytest.mark.parametrize(
    "shortcuts",
    [Shortcuts(), Shortcuts((0.0, 0.5)), Shortcuts((0.5, 1.0), 2), Shortcuts(pose_every=4)],
    ids=["exact", "guided first", "guided late, reference", "pose"],
)
def test_arithmetic_is_what_is_told(run, tiny, shortcuts):
    pose = Control(1.0, 0.0, 0.8)
    costs = count_costs(run.inputs["networks"], torch.rand(FRAMES, 3, 16, 16), draw(1, 4, 4, 4), tiny.context)
    with FlopCounterMode(display=False) as counter:
        run(shortcuts=shortcuts, pose_control=pose, frames_per_batch=FRAMES)
    told = costs.of_run(FRAMES, STEPS, shortcuts, pose) - FRAMES * costs.encoding
    assert counter.get_total_flops() == pytest.approx(told, rel=0.01)  # the first plain step takes the text alone


@pytest.mark.parametrize(
    "wrong", [{"guidance": (0.6, 0.4)}, {"guidance": (0.0, 1.5)}, {"reference_every": 0}, {"pose_every": 1.5}]
)
def test_shortcuts_out_of_range(wrong):
    with pytest.raises(InputError, match="give"):
        Shortcuts(**wrong)


def test_presets_are_those_that_users_choose_from():
    assert tuple(PRESETS) == NAMES and PRESETS["exact"].shortcuts == Shortcuts() and PRESETS["exact"].count(7) == 7


def test_named_schedulers(run, tiny):
    for name in SCHEDULERS:
        scheduler = named_scheduler(name, tiny.scheduler)
        assert scheduler is not tiny.scheduler
        out = run(scheduler=scheduler, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
        assert out.isfinite().all()
        again = run(
            scheduler=scheduler, num_inference_steps=4, frames_per_batch=3, generator=torch.Generator().manual_seed(0)
        )
        assert torch.allclose(out, again, atol=1e-3), name
    with pytest.raises(InputError, match="LCMScheduler does not take 80 steps"):
        run(scheduler=named_scheduler("lcm", tiny.scheduler), num_inference_steps=80)


def test_in_the_pipeline(tiny):
    pipe = MagicDancePipeline(tiny)
    inputs = (torch.rand(3, 16, 16), torch.rand(2, 3, 16, 16))

    def make(**options):
        return pipe(
            *inputs, output_type="latent", generator=torch.Generator().manual_seed(0), **with_settings(**options)
        ).frames

    assert torch.equal(make(shortcuts=Shortcuts()), make())
    assert not torch.equal(make(shortcuts=Shortcuts((0.0, 0.5), 2, 2)), make())
    with pytest.raises(InputError, match="shortcuts"):
        make(shortcuts="fast")
