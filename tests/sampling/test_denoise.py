"""The denoising loop: what it computes, how often, and how it ends."""

from collections import Counter

import pytest
import torch
from calls import denoise
from diffusers import (
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from magicdance_core.errors import InputError
from magicdance_core.models import Networks, ReferenceSource, predict
from magicdance_core.sampling import Control, published_scheduler

FRAMES, SIZE = 5, (6, 10)


@pytest.fixture
def networks(tiny):
    return Networks(tiny.unet, tiny.appearance, tiny.pose)


@pytest.fixture
def run(tiny, networks):
    """Calls `denoise` on fixed inputs; keyword arguments replace them."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    hints = tiny.pose.encode_pose(torch.rand(FRAMES, 3, 24, 40, generator=generator)).detach()
    inputs = {
        "networks": networks,
        "scheduler": tiny.scheduler,
        "noise": draw(1, 4, *SIZE),
        "context": draw(1, 3, 12),
        "num_inference_steps": 3,
        "guidance_scale": 3.0,
        "reference": draw(1, 4, 8, 8),
        "hints": hints,
    }

    def call(**changes):
        return denoise(**inputs | changes)

    call.inputs, call.draw = inputs, draw
    return call


@pytest.fixture
def calls(networks):
    """How many rows each network has seen."""
    counts = Counter()

    def count(name):
        def hook(module, args):
            counts[name] += len(args[0])

        return hook

    for name in ("unet", "appearance", "pose"):
        getattr(networks, name).register_forward_pre_hook(count(name))
    networks.pose.controlnet_cond_embedding.conv_in.register_forward_pre_hook(count("hint"))
    first = next(module for name, module in networks.unet.named_modules() if name.endswith("attn1.to_k"))
    first.register_forward_hook(lambda module, args, out: counts.update(projected=len(args[0])))
    return counts


def test_shape_and_dtype(run):
    out = run()
    assert out.shape == (FRAMES, 4, *SIZE) and out.dtype == torch.float32 and out.isfinite().all()
    assert not torch.allclose(out[0], out[1])


def test_one_frame_by_hand(run, networks, tiny, relative_error):
    """The loop equals its definition, written out with networks and formulas alone."""
    inputs, alphas = run.inputs, tiny.scheduler.alphas_cumprod
    x, text = inputs["noise"], inputs["context"]
    with torch.no_grad():
        for t in (667, 334, 1):
            bank = networks.appearance(inputs["reference"], t, text)
            blocks = dict(networks.unet.named_modules())
            keys = {name: blocks[name].attn1.to_k(tokens) for name, tokens in bank.items()}
            values = {name: blocks[name].attn1.to_v(tokens) for name, tokens in bank.items()}
            residuals = networks.pose(x, t, text, inputs["hints"][:1])
            cond = predict(networks, x, t, text, ReferenceSource(keys, values), residuals)
            uncond = predict(networks, x, t, text)
            e = uncond + 3.0 * (cond - uncond)
            now, then = alphas[t], alphas[max(t - 333, 0)]
            x = then**0.5 * (x - (1 - now) ** 0.5 * e) / now**0.5 + (1 - then) ** 0.5 * e
    assert relative_error(run(hints=inputs["hints"][:1]), x) < 1e-5


@pytest.mark.parametrize("mode", ["controlnet_important", "balance"])
def test_batch_size_changes_nothing(run, relative_error, mode):
    other = run.draw(1, 3, 12)
    whole = run(control_mode=mode, uncond_context=other, frames_per_batch=8)
    for size in (1, 2, 3):
        parts = run(control_mode=mode, uncond_context=other, frames_per_batch=size)
        assert relative_error(parts, whole) < 1e-5


def test_work_is_not_repeated(run, calls):
    steps = 3
    run(num_inference_steps=steps, frames_per_batch=2)
    assert calls["appearance"] == steps
    assert calls["pose"] == steps * FRAMES  # none for the unconditional half
    assert calls["unet"] == steps * FRAMES + 1 + (steps - 1) * FRAMES  # one unconditional call at the first step
    assert calls["hint"] == 0  # encoded before
    assert calls["projected"] == calls["unet"] + steps  # keys of the reference: once a step


def test_noise_of_each_frame_needs_its_own_first_step(run, calls):
    out = run(noise=run.draw(FRAMES, 4, *SIZE))
    assert out.shape[0] == FRAMES
    assert calls["unet"] == 2 * 3 * FRAMES


def test_same_noise_twice_is_shared_noise(run, relative_error):
    noise = run.inputs["noise"]
    assert relative_error(run(noise=noise.repeat(FRAMES, 1, 1, 1)), run()) < 1e-5


@pytest.mark.parametrize(
    "options",
    [{"guidance_scale": 1.0}, {"control_mode": "balance"}, {"guidance_scale": 1.0, "control_mode": "balance"}],
)
def test_no_second_half_where_it_says_nothing(run, calls, options):
    out = run(**options)
    assert calls["unet"] == calls["pose"] == 3 * FRAMES and calls["appearance"] == 3
    assert torch.equal(out, run(guidance_scale=1.0))


def test_balance_contrasts_texts(run, calls):
    out = run(control_mode="balance", uncond_context=run.draw(1, 3, 12))
    assert calls["unet"] == calls["pose"] == 2 * 3 * FRAMES and calls["appearance"] == 2 * 3
    assert not torch.allclose(out, run(control_mode="balance"))


@pytest.mark.parametrize("off", [Control(0.0), Control(1.0, 0.0, 0.0), Control(1.0, 1.0, 1.0)])
def test_strength_0_is_exactly_no_control(run, networks, calls, off):
    plain = run(networks=Networks(networks.unet), reference=None, hints=None, frames=FRAMES)
    calls.clear()
    assert torch.equal(run(appearance_control=off, pose_control=off), plain)
    assert calls["appearance"] == calls["pose"] == 0
    assert torch.equal(run(appearance_control=off), run(reference=None))
    assert torch.equal(run(pose_control=off, guidance_scale=1.0), run(hints=None, frames=FRAMES, guidance_scale=1.0))


def test_range_of_a_control(run, calls):
    run(
        num_inference_steps=4,
        appearance_control=Control(1.0, 0.25, 0.75),
        pose_control=Control(1.0, 0.0, 0.5),
        frames_per_batch=8,
    )
    assert calls["appearance"] == 2 and calls["pose"] == 2 * FRAMES
    first, second = Control(1.0, 0.0, 0.3), Control(1.0, 0.3, 1.0)
    assert all(bool(first.at(step, 10)) != bool(second.at(step, 10)) for step in range(10))


def test_strength_is_gradual(run):
    full = run()
    near, far = (run(appearance_control=Control(s), pose_control=Control(s)) for s in (0.99, 0.5))
    assert 0 < (near - full).norm() < (far - full).norm()


@pytest.mark.parametrize("values", [(-1.0, 0, 1), (float("nan"), 0, 1), (1, 0.6, 0.5), (1, -0.1, 1), (1, 0, 1.1)])
def test_control_out_of_range(values):
    with pytest.raises(InputError, match="give"):
        Control(*values)


def test_two_pictures_of_one_person(run, relative_error):
    picture, other = run.inputs["reference"], run.draw(1, 4, 8, 8)
    both = run(reference=torch.cat([picture, other]))
    assert not torch.allclose(both, run(), atol=1e-3)
    assert relative_error(run(reference=torch.cat([other, picture])), both) < 1e-4  # a set, without order
    twice = run(reference=torch.cat([picture, picture]), appearance_control=Control(0.5))
    assert relative_error(twice, run()) < 1e-4  # half the weight on two copies


@pytest.mark.parametrize("size", [(8, 8), (4, 12), (16, 6)])
def test_reference_of_another_size(run, size):
    assert run(reference=run.draw(1, 4, *size)).shape == (FRAMES, 4, *SIZE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(run, networks, relative_error, dtype):
    exact = run()
    for network in (networks.unet, networks.appearance, networks.pose):
        torch.nn.Module.to(network, dtype)
    out = run(context=run.inputs["context"].to(dtype), hints=run.inputs["hints"].to(dtype))
    assert out.dtype == torch.float32
    assert relative_error(out, exact) < {torch.float16: 0.01, torch.bfloat16: 0.08}[dtype]


@pytest.mark.parametrize(
    "kind",
    [
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        HeunDiscreteScheduler,
        UniPCMultistepScheduler,
        DPMSolverMultistepScheduler,
    ],
)
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_other_schedulers(run, relative_error, kind, prediction):
    scheduler = kind.from_config(published_scheduler(prediction).config)
    seen = []
    outs = [
        run(
            scheduler=scheduler,
            frames_per_batch=size,
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(0),
            callback=seen.append,
        )
        for size in (2, 5)
    ]
    assert outs[0].isfinite().all() and relative_error(outs[0], outs[1]) < 1e-4
    assert all(progress.denoised.isfinite().all() for progress in seen)


def test_solvers_agree_in_the_limit(run, relative_error):
    """Two first-order solvers of one equation meet, so noise scaling and time steps are right for both."""
    config = published_scheduler().config
    shared = {"num_inference_steps": 100, "guidance_scale": 1.0, "hints": run.inputs["hints"][:1]}
    euler = run(scheduler=EulerDiscreteScheduler.from_config(config), **shared)
    assert relative_error(run(**shared), euler) < 0.05


def test_eta_takes_the_generator(run):
    def sample(seed, eta=1.0):
        return run(eta=eta, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(sample(0), sample(0)) and not torch.equal(sample(0), sample(1))
    assert torch.equal(sample(0, eta=0.0), sample(1, eta=0.0))
    noisy = sample(0, eta=1.0)
    whole = run(eta=1.0, generator=torch.Generator().manual_seed(0), frames_per_batch=2)
    assert torch.allclose(noisy, whole, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 7, 30, 50])
def test_exactly_the_steps_asked_for(tiny, steps):
    tiny.scheduler.set_timesteps(steps)
    assert len(tiny.scheduler.timesteps) == steps
    if steps == 50:
        assert tiny.scheduler.timesteps.tolist() == list(range(981, 0, -20))


def test_progress(run):
    seen = []
    out = run(callback=seen.append, frames_per_batch=2)
    assert [(p.step, p.frame) for p in seen] == [(step, frame) for step in range(3) for frame in (2, 4, 5)]
    assert {(p.steps, p.frames) for p in seen} == {(3, FRAMES)}
    fractions = [p.fraction for p in seen]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert [len(p.denoised) for p in seen[-3:]] == [2, 2, 1]
    # the last step leaves hardly any noise, so the result is what it foresaw
    assert torch.allclose(torch.cat([p.denoised for p in seen[-3:]]), out, atol=0.5)


def test_cancelling_leaves_nothing(run):
    class Cancelled(Exception):
        pass

    def cancel(progress):
        if progress.step == 1:
            raise Cancelled

    before = run()
    with pytest.raises(Cancelled):
        run(callback=cancel)
    assert torch.equal(run(), before)


def test_inputs_are_not_written_to(run):
    copies = {name: value.clone() for name, value in run.inputs.items() if isinstance(value, torch.Tensor)}
    run()
    assert all(torch.equal(run.inputs[name], copy) for name, copy in copies.items())


def test_bad_mode_and_bad_noise(run):
    with pytest.raises(InputError, match="control mode 'both'"):
        run(control_mode="both")
    with pytest.raises(InputError, match="2 noises for 5 frames"):
        run(noise=run.draw(2, 4, *SIZE))
