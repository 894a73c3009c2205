"""Runs with a motion module: windows, both orders, streams, resuming."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from calls import denoise, with_settings
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.models import MotionModule, Networks
from magicdance_core.sampling import Control, FrameNoise, Windows

FRAMES = 10
WINDOWS = Windows(5, 2)


@pytest.fixture(scope="module")
def motion():
    torch.manual_seed(1)
    module = MotionModule(
        block_out_channels=(16, 32),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=8,
        motion_max_seq_length=FRAMES,
        noise="mixed",
    )
    for parameter in module.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return module.eval().requires_grad_(False)


@pytest.fixture
def run(tiny, motion):
    def draw(*shape, seed=0):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    networks = Networks(tiny.unet, tiny.appearance, tiny.pose, motion)
    inputs = {
        "scheduler": tiny.scheduler,
        "noise": FrameNoise("mixed", draw(1, 4, 4, 4), seed=5),
        "context": draw(1, 3, 12),
        "num_inference_steps": 3,
        "guidance_scale": 2.0,
        "reference": draw(1, 4, 4, 4, seed=1),
        "hints": tiny.pose.encode_pose(draw(FRAMES, 3, 16, 16, seed=2)).detach(),
        "windows": WINDOWS,
    }

    def call(motion_module=motion, **changes):
        return denoise(replace(networks, motion=motion_module), **inputs | changes)

    call.inputs = inputs
    return call


def test_motion_changes_frames_and_off_is_exactly_off(run):
    plain = run(motion_module=None, windows=None)
    assert run().isfinite().all() and not torch.allclose(run(), plain, atol=1e-2)
    assert torch.allclose(run(motion_control=Control(0.0)), plain, atol=1e-5)  # other batches
    alone = {"windows": Windows(FRAMES, 0, weights="flat"), "motion_control": Control(0.0)}
    assert torch.equal(run(**alone), run(motion_module=None, windows=None, frames_per_batch=FRAMES))
    first, second = (run(motion_control=Control(1.0, *part)) for part in ((0.0, 0.5), (0.5, 1.0)))
    assert not torch.allclose(first, second, atol=1e-2)


@pytest.mark.parametrize(
    "options",
    [{}, {"motion_in_uncond": True}, {"windows": Windows(4, 1, closed=True)}, {"windows": Windows(4, 1, (1, 2))},
     {"eta": 1.0}, {"control_mode": "balance", "uncond_context": torch.ones(1, 3, 12)}],
    ids=["plain", "uncond", "loop", "strides", "eta", "balance"],
)  # fmt: skip
def test_both_orders_give_the_same(run, options):
    assert torch.equal(run(**options), run(**options, order="diagonal"))


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_schedulers_that_remember_go_along_with_each_frame(run, kind):
    scheduler = kind.from_config(run.inputs["scheduler"].config)
    outs = [run(scheduler=scheduler, order=order) for order in ("steps", "diagonal")]
    assert torch.equal(*outs) and outs[0].isfinite().all()


def test_a_frame_is_contrasted_once(run, tiny):
    calls = Counter()
    tiny.unet.register_forward_pre_hook(lambda module, args: calls.update(rows=len(args[0])))
    seen = sum(len(window.frames) for step in range(3) for window in WINDOWS.at(step, FRAMES))
    run()
    assert calls["rows"] == seen + 3 * FRAMES
    calls.clear()
    run(motion_in_uncond=True)
    assert calls["rows"] == 2 * seen
    calls.clear()
    run(noise=run.inputs["noise"].shared)  # all frames start alike
    assert calls["rows"] == seen + 1 + 2 * FRAMES


def test_the_definition_by_hand(run, tiny, motion, relative_error):
    """One window and one step, of networks and formulas alone."""
    from magicdance_core.models import ReferenceReader, apply_motion, predict, read_pose

    inputs, networks = run.inputs, Networks(tiny.unet, tiny.appearance, tiny.pose, motion)
    with torch.no_grad():
        x = torch.cat([inputs["noise"].start(frame) for frame in range(4)])
        t, text = 1, inputs["context"]
        source = ReferenceReader(tiny.appearance, inputs["reference"]).source(tiny.unet, t, text)
        residuals = read_pose(networks, x, t, text, inputs["hints"][:4])
        with apply_motion(tiny.unet, motion, 4):
            cond = predict(Networks(tiny.unet), x, t, text, source, residuals)
        uncond = torch.cat([predict(networks, frame, t, text) for frame in x.split(1)])
        e = uncond + 2.0 * (cond - uncond)
        now, then = tiny.scheduler.alphas_cumprod[t], tiny.scheduler.alphas_cumprod[0]
        expected = then**0.5 * (x - (1 - now) ** 0.5 * e) / now**0.5 + (1 - then) ** 0.5 * e
    assert relative_error(run(hints=inputs["hints"][:4], num_inference_steps=1), expected) < 1e-5


def test_too_long_windows_and_single_frames(run, motion, caplog):
    with pytest.raises(InputError, match="context length is 14 frames and the motion module supports 10"):
        run(hints=run.inputs["hints"].repeat(2, 1, 1, 1), windows=Windows(14, 2))
    assert len(run(windows=Windows(14, 2))) == FRAMES  # all of them fit
    one = run(hints=run.inputs["hints"][:1])
    assert "single frame has no motion" in caplog.text
    assert torch.equal(one, run(motion_module=None, windows=None, hints=run.inputs["hints"][:1]))


@pytest.fixture(scope="module")
def pipe(make_tiny, motion):
    pipe = MagicDancePipeline(make_tiny())
    pipe.motion = motion
    return pipe


@pytest.fixture(scope="module")
def pictures():
    draw = torch.Generator().manual_seed(3)
    return torch.rand(1, 3, 16, 16, generator=draw), torch.rand(FRAMES, 3, 16, 16, generator=draw)


def settings(**options):
    generator = torch.Generator().manual_seed(9)
    return with_settings(windows=WINDOWS, num_inference_steps=3, generator=generator, **options)


def stream(pipe, pictures, **options):
    return pipe.stream(pictures[0], iter(pictures[1]), FRAMES, **settings(**options))


def test_a_stream_has_the_frames_of_a_call(pipe, pictures):
    whole = pipe(*pictures, output_type="pt", **settings()).frames
    made = {}
    for chunk in stream(pipe, pictures):
        made.update(zip(chunk.frames, chunk.pictures))
    assert list(made) == list(range(FRAMES))
    assert torch.allclose(torch.stack(list(made.values())), whole, atol=1e-6)


def test_a_stream_reads_poses_when_it_needs_them(pipe, pictures):
    read = []

    def poses():
        for number in range(500):
            read.append(number)
            yield pictures[1][number % FRAMES]

    next(pipe.stream(pictures[0], poses(), 500, **settings()))
    assert len(read) < 50


def test_a_resumed_stream_ends_with_the_same_pixels(pipe, pictures):
    made, states = {}, []
    for chunk in stream(pipe, pictures):
        made.update(zip(chunk.frames, chunk.pictures))
        states.append(chunk.state())
    for state in states[:-1]:
        again = [chunk for chunk in stream(pipe, pictures, state=state)]
        assert 0 < sum(len(chunk.frames) for chunk in again) < FRAMES
        assert all(torch.equal(picture, made[n]) for chunk in again for n, picture in zip(chunk.frames, chunk.pictures))


def test_only_schedulers_without_memory_resume(pipe, pictures, make_tiny):
    other = MagicDancePipeline(make_tiny())
    other.scheduler = DPMSolverMultistepScheduler.from_config(other.scheduler.config)
    with pytest.raises(InputError, match="cannot be resumed"):
        next(stream(other, pictures, state={}))


def test_a_quick_look_at_the_first_frames(pipe, pictures):
    chunks = stream(pipe, pictures, quick=True)
    first = next(chunks)
    assert first.frames == tuple(range(3)) and first.pictures.shape == (3, 3, 16, 16)
    assert [n for chunk in chunks for n in chunk.frames] == list(range(3, FRAMES))


def test_noise_is_the_modules_own_by_default(pipe, pictures, motion):
    by_default = pipe(*pictures, output_type="latent", **settings()).frames
    for noise in ("mixed", "free"):
        given = pipe(*pictures, output_type="latent", **settings(noise=noise)).frames
        assert torch.equal(given, by_default) == (noise == "mixed")


def test_a_module_of_another_width_is_refused(pipe):
    with pytest.raises(InputError, match="widths"):
        pipe.motion = MotionModule(block_out_channels=(32, 32), motion_layers_per_block=1)
