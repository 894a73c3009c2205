"""The public face: what it accepts, what it gives back, and what it says about bad input."""

import diffusers
import numpy as np
import pytest
import torch
from calls import with_settings
from diffusers import EulerDiscreteScheduler
from PIL import Image

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.sampling import Control, SamplingSettings
from magicdance_core.sampling.steps import FiniteCheck

HEIGHT, WIDTH = 24, 40


@pytest.fixture(scope="module")
def pipe(make_tiny):
    return MagicDancePipeline(make_tiny())


@pytest.fixture(scope="module")
def reference():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def poses():
    return torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def to_pil(images):
    return [Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()) for image in images]


def test_output_types(pipe, reference, poses):
    outs = {kind: pipe(reference, poses, generator=seeded(), output_type=kind).frames for kind in ("pt", "np", "pil")}
    assert outs["pt"].shape == (3, 3, HEIGHT, WIDTH) and outs["pt"].dtype == torch.float32
    assert 0 <= outs["pt"].min() and outs["pt"].max() <= 1
    assert outs["np"].shape == (3, HEIGHT, WIDTH, 3) and outs["np"].dtype == np.float32
    assert np.array_equal(outs["np"].transpose(0, 3, 1, 2), outs["pt"].numpy())
    assert [image.size for image in outs["pil"]] == [(WIDTH, HEIGHT)] * 3 and outs["pil"][0].mode == "RGB"
    assert np.abs(np.asarray(outs["pil"][1]) / 255 - outs["np"][1]).max() <= 0.5 / 255 + 1e-6
    latent = pipe(reference, poses, generator=seeded(), output_type="latent").frames
    assert latent.shape == (3, 4, HEIGHT // 4, WIDTH // 4) and latent.dtype == torch.float32
    decoded = pipe.vae.decode(latent / pipe.vae.config.scaling_factor).sample
    assert torch.allclose((decoded / 2 + 0.5).clamp(0, 1), outs["pt"], atol=1e-5)


def test_pil_and_tensors_agree(pipe, reference, poses):
    pictures, maps = to_pil(reference), to_pil(poses)
    exact = [
        torch.from_numpy(np.stack([np.asarray(image) for image in group])).permute(0, 3, 1, 2) / 255
        for group in (pictures, maps)
    ]
    shared = {"output_type": "latent"}
    one = pipe(pictures[0], maps, generator=seeded(), **shared).frames
    other = pipe(exact[0][0], exact[1], generator=seeded(), **shared).frames
    assert torch.equal(one, other)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_every_kind_of_pil_image(pipe, reference, poses, mode):
    picture = to_pil(reference)[0].convert(mode)
    shared = {"output_type": "latent", "num_inference_steps": 1}
    one = pipe(picture, poses, generator=seeded(), **shared).frames
    assert torch.equal(one, pipe(picture.convert("RGB"), poses, generator=seeded(), **shared).frames)


def test_alpha_is_dropped_not_composited(pipe, reference, poses):
    opaque = to_pil(reference)[0]
    clear = opaque.copy()
    clear.putalpha(0)
    outs = [pipe(picture, poses, 1, generator=seeded(), output_type="latent").frames for picture in (opaque, clear)]
    assert torch.equal(*outs)


def test_the_models_defaults_are_used(pipe, reference, poses):
    assert pipe.defaults == {"num_inference_steps": 4, "guidance_scale": 2.0, "sample_size": 32}
    own = pipe(reference, poses, generator=seeded(), output_type="latent").frames
    assert torch.equal(own, pipe(reference, poses, 4, 2.0, generator=seeded(), output_type="latent").frames)


def test_published_defaults(published):
    assert MagicDancePipeline(published).defaults == {
        "num_inference_steps": 50,
        "guidance_scale": 7.0,
        "sample_size": 512,
    }


def test_noise(pipe, reference, poses):
    def sample(**options):
        return pipe(reference, poses, 2, output_type="latent", **options).frames

    noise = torch.randn(1, 4, HEIGHT // 4, WIDTH // 4, generator=seeded(5))
    assert torch.equal(sample(latents=noise), sample(generator=seeded(5)))
    assert not torch.allclose(sample(generator=seeded(5)), sample(generator=seeded(6)))
    each = torch.cat([noise, noise + 0.1, noise])
    out = sample(latents=each)
    assert torch.allclose(out[::2], sample(latents=noise)[::2], atol=1e-4)
    assert not torch.allclose(out[1], sample(latents=noise)[1], atol=1e-3)


def test_batches_change_nothing(pipe, reference, poses, relative_error):
    whole = pipe(reference, poses, generator=seeded(), output_type="pt").frames
    for size in (1, 2):
        out = pipe(
            reference,
            poses,
            generator=seeded(),
            output_type="pt",
            **with_settings(frames_per_batch=size, decode_chunk_size=size),
        )
        assert relative_error(out.frames, whole) < 1e-5


def test_arguments_override_the_settings(pipe, reference, poses):
    def sample(*args, **options):
        return pipe(reference, poses, *args, generator=seeded(), output_type="latent", **options).frames

    settings = SamplingSettings(3, 5.0, "balance")
    assert torch.equal(sample(settings=settings), sample(3, 5.0, "balance"))
    assert torch.equal(sample(2, settings=settings), sample(2, 5.0, "balance"))
    with pytest.raises(InputError, match="settings is a dict: give .*SamplingSettings"):
        sample(settings={"eta": 1.0})


def test_progress_bar_can_be_disabled(make_tiny, reference, poses, capsys):
    pipe = MagicDancePipeline(make_tiny())
    pipe(reference, poses, 2)
    assert "6/6" in capsys.readouterr().err
    pipe.set_progress_bar_config(disable=True)
    pipe(reference, poses, 2)
    assert not capsys.readouterr().err


def test_cpu_offload_loads_only_the_networks_of_a_phase(make_tiny, reference, poses, monkeypatch):
    exact = MagicDancePipeline(make_tiny())(reference, poses, 2, generator=seeded(), output_type="pt").frames
    pipe, moved = MagicDancePipeline(make_tiny()), []
    pipe.enable_model_cpu_offload("cpu")
    move = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *a, **k: (moved.append((self, *a)), move(self, *a, **k))[1])
    assert torch.equal(pipe(reference, poses, 2, generator=seeded(), output_type="pt").frames, exact)
    phases = [
        {id(network) for network, device in moved[i : i + 4] if isinstance(device, torch.device)} for i in (0, 4, 8)
    ]
    controlled = {id(pipe.unet), id(pipe.appearance), id(pipe.pose)}
    assert phases == [{id(pipe.vae)}, controlled, {id(pipe.vae)}] and len(moved) == 12
    assert pipe.device == torch.device("cpu") and pipe.dtype == torch.float32


def test_several_pictures_of_one_person(pipe, reference, poses):
    other = 1 - reference
    both = pipe(torch.cat([reference, other]), poses, generator=seeded(), output_type="latent").frames
    listed = pipe(to_pil(torch.cat([reference, other])), poses, generator=seeded(), output_type="latent").frames
    assert torch.allclose(both, listed, atol=0.05)
    assert not torch.allclose(both, pipe(reference, poses, generator=seeded(), output_type="latent").frames, atol=1e-3)


def test_prompts(pipe, reference, poses):
    prompt, negative = torch.randn(2, 1, 5, 12, generator=seeded(2)).unbind()

    def sample(**options):
        return pipe(reference, poses, 2, generator=seeded(), output_type="latent", **options).frames

    empty = pipe.components.context
    assert torch.equal(sample(), sample(prompt_embeds=empty, negative_prompt_embeds=empty))
    # the published mode never contrasts texts: the negative prompt is the prompt
    assert torch.equal(sample(prompt_embeds=prompt), sample(prompt_embeds=prompt, negative_prompt_embeds=prompt))
    contrasted = sample(prompt_embeds=prompt, negative_prompt_embeds=negative)
    assert not torch.allclose(sample(prompt_embeds=prompt), contrasted)
    balance = {"control_mode": "balance", "prompt_embeds": prompt}
    assert torch.equal(sample(**balance), sample(**balance, negative_prompt_embeds=empty))


def test_controls(pipe, reference, poses):
    def sample(reference=reference, **options):
        return pipe(reference, poses, 2, generator=seeded(), output_type="latent", **with_settings(**options)).frames

    alike = sample(pose_control=Control(0.0))
    assert torch.allclose(alike[0], alike[1], atol=1e-5)  # nothing tells the frames apart
    assert torch.equal(
        sample(appearance_control=Control(0.0)),
        sample(1 - reference, appearance_control=Control(0.0)),
    )


def test_without_controls(make_tiny, reference, poses):
    components = make_tiny()
    components.appearance = components.pose = None
    out = MagicDancePipeline(components)(reference, poses, 2, output_type="pt").frames
    assert out.shape == (3, 3, HEIGHT, WIDTH)


def test_v_prediction(make_tiny, reference, poses):
    one, other = (MagicDancePipeline(make_tiny(kind)) for kind in ("epsilon", "v_prediction"))
    outs = [pipe(reference, poses, 2, generator=seeded(), output_type="latent").frames for pipe in (one, other)]
    assert not torch.allclose(*outs)


def test_scheduler_is_settable(make_tiny, reference, poses):
    pipe = MagicDancePipeline(make_tiny("v_prediction"))
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    assert pipe(reference, poses, 3, output_type="pt").frames.isfinite().all()
    with pytest.raises(InputError, match="v_prediction .* expects epsilon.*from_config"):
        pipe.scheduler = EulerDiscreteScheduler()


@pytest.mark.parametrize("name", ["PNDMScheduler", "DPMSolverMultistepScheduler"])
@pytest.mark.parametrize("more", [{}, {"skip_prk_steps": True}])
def test_schedulers_with_a_memory_keep_one_for_each_frame(make_tiny, reference, poses, name, more):
    pipe = MagicDancePipeline(make_tiny())
    outs = []
    for batch in (1, 2, 3):
        pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **more)
        settings = SamplingSettings(num_inference_steps=6, frames_per_batch=batch)
        outs.append(pipe(reference, poses, settings=settings, generator=seeded(), output_type="latent").frames)
    assert all(torch.allclose(out, outs[0], atol=1e-4) for out in outs)


def test_schedulers_of_other_models_are_refused_in_a_line(make_tiny):
    pipe = MagicDancePipeline(make_tiny())
    for name in ("FlowMatchEulerDiscreteScheduler", "EDMEulerScheduler", "DDIMInverseScheduler"):
        with pytest.raises(InputError, match=f"{name} is not for models of Stable Diffusion 1.5.*DDIMScheduler"):
            pipe.scheduler = getattr(diffusers, name)()


def test_cast(make_tiny, reference, poses, relative_error):
    pipe = MagicDancePipeline(make_tiny())
    exact = pipe(reference, poses, generator=seeded(), output_type="latent").frames
    assert pipe.to("cpu", torch.bfloat16) is pipe and pipe.unet.dtype == pipe.vae.dtype == torch.bfloat16
    out = pipe(reference, poses, generator=seeded(), output_type="latent").frames
    assert out.dtype == torch.float32 and relative_error(out, exact) < 0.08


def test_save_and_load(make_tiny, reference, poses, tmp_path):
    pipe = MagicDancePipeline(make_tiny("v_prediction"))
    pipe.save_pretrained(tmp_path / "model")
    again = MagicDancePipeline.from_pretrained(tmp_path / "model")
    outs = [p(reference, poses, generator=seeded(), output_type="latent").frames for p in (pipe, again)]
    assert torch.equal(*outs) and again.defaults == pipe.defaults
    half = MagicDancePipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.float16)
    assert half.unet.dtype == torch.float16


def test_embedded_model_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr("magicdance_core.pipeline.EMBEDDED", tmp_path / "none")
    with pytest.raises(InputError, match="embedded model is not in"):
        MagicDancePipeline.from_embedded()


def test_progress_and_cancelling(pipe, reference, poses):
    seen = []
    pipe(reference, poses, 2, callback=seen.append, output_type="latent", **with_settings(frames_per_batch=2))
    assert [progress.frame for progress in seen] == [2, 3, 2, 3]

    def cancel(progress):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        pipe(reference, poses, 2, callback=cancel)


NAN = torch.full((1, 3, 32, 32), float("nan"))
BAD = {
    "no image": ({"reference": "me.png"}, "The reference is a str"),
    "array": ({"reference": np.zeros((32, 32, 3))}, "The reference is a ndarray"),
    "grey tensor": ({"reference": torch.zeros(1, 1, 32, 32)}, r"shape \[1, 1, 32, 32\]"),
    "alpha tensor": ({"reference": torch.zeros(4, 32, 32)}, r"shape \[1, 4, 32, 32\]"),
    "channels last": ({"reference": torch.zeros(32, 32, 3)}, r"shape \[1, 32, 32, 3\]"),
    "flat": ({"reference": torch.zeros(32, 32)}, r"shape \[32, 32\]"),
    "bytes": ({"reference": torch.zeros(3, 32, 32, dtype=torch.uint8)}, "torch.uint8: give floats"),
    "signed": ({"reference": torch.full((3, 32, 32), -1.0)}, "values from -1 to -1: give floats in"),
    "255": ({"poses": torch.full((2, 3, 24, 40), 255.0)}, "The pose sequence has values from 255 to 255"),
    "nan": ({"reference": NAN}, "The reference .*NaN"),
    "infinite": ({"poses": torch.full((2, 3, 24, 40), float("inf"))}, "The pose sequence .*NaN or infinite"),
    "odd size": ({"poses": torch.zeros(2, 3, 25, 43)}, "43 x 25 pixels.*multiples of 4.*resize .* to 44 x 24"),
    "odd reference": ({"reference": Image.new("RGB", (30, 33))}, "30 x 33 .*to 32 x 32|30 x 33 .*to 28 x 32"),
    "no frames": ({"poses": []}, "The pose sequence .*empty"),
    "no frames tensor": ({"poses": torch.zeros(0, 3, 24, 40)}, "The pose sequence .*empty"),
    "sizes": ({"poses": [Image.new("RGB", (40, 24)), Image.new("RGB", (24, 40))]}, "40 x 24 and 24 x 40 pixels"),
    "not all images": ({"poses": [Image.new("RGB", (40, 24)), 3]}, "int: give PIL images"),
    "latents": ({"latents": torch.zeros(2, 4, 6, 10)}, r"latents .*\[2, 4, 6, 10\].*\[1, 4, 6, 10\].*\[3, 4, 6, 10\]"),
    "latents nan": ({"latents": torch.full((1, 4, 6, 10), float("nan"))}, "latents .*NaN"),
    "context": ({"prompt_embeds": torch.zeros(1, 77, 768)}, r"prompt_embeds .*\[1, 77, 768\].*\[1, n, 12\]"),
    "negative": ({"negative_prompt_embeds": torch.zeros(2, 3, 12)}, "negative_prompt_embeds .*shape"),
    "output": ({"output_type": "jpg"}, "'jpg' is unknown.*pil, pt, np, latent"),
    "mode": ({"control_mode": "both"}, "'both' is unknown.*controlnet_important or balance"),
    "no steps": ({"num_inference_steps": 0}, "num_inference_steps is 0: give 1 to 999"),
    "too many steps": ({"num_inference_steps": 1000}, "num_inference_steps is 1000"),
    "half a step": ({"num_inference_steps": 2.5}, "num_inference_steps is 2.5"),
    "guidance": ({"guidance_scale": float("nan")}, "guidance_scale is nan"),
    "batch": ({"frames_per_batch": 0}, "frames_per_batch is 0"),
    "decode batch": ({"decode_chunk_size": -1}, "decode_chunk_size is -1"),
    "half a batch": ({"frames_per_batch": 2.5}, "frames_per_batch is 2.5"),
    "nothing": ({"reference": None, "poses": None}, "neither a reference nor a pose"),
    "a path": ({"reference": "person.png"}, "The reference is a str"),
    "an array": ({"poses": np.zeros((2, 24, 40, 3))}, "The pose sequence is a ndarray"),
    "a number": ({"poses": 3}, "The pose sequence is a int"),
    "steps in words": ({"num_inference_steps": "five"}, "num_inference_steps is 'five'"),
    "true steps": ({"num_inference_steps": True}, "num_inference_steps is True"),
    "guidance in words": ({"guidance_scale": "7"}, "guidance_scale is '7'"),
    "infinite guidance": ({"guidance_scale": float("inf")}, "guidance_scale is inf"),
    "a list of guidances": ({"guidance_scale": [7.0]}, r"guidance_scale is \[7.0\]"),
    "eta": ({"eta": 100}, "eta is 100.0: give 0 to 1"),
    "eta below 0": ({"eta": -1.0}, "eta is -1.0: give 0 to 1"),
    "eta nan": ({"eta": float("nan")}, "eta is nan"),
    "no latents": ({"latents": [0.0]}, "latents is a list: give Tensor"),
    "no embeddings": ({"prompt_embeds": "a dancer"}, "prompt_embeds is a str: give Tensor"),
    "embeddings nan": ({"prompt_embeds": torch.full((1, 3, 12), float("nan"))}, "embeddings contain NaN"),
    "negative nan": ({"negative_prompt_embeds": torch.full((1, 3, 12), float("inf"))}, "embeddings contain NaN"),
    "a seed": ({"generator": 5}, "generator is a int"),
    "a strength": ({"appearance_control": 1.0}, "appearance_control is a float: give Control"),
    "no control": ({"pose_control": None}, "pose_control is a NoneType: give Control"),
    "no callback": ({"callback": "print"}, "callback is a str"),
    "list as mode": ({"control_mode": ["balance"]}, "control mode"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_before_any_network_runs(pipe, reference, poses, monkeypatch, change, message):
    monkeypatch.setattr(type(pipe.unet), "forward", lambda *args, **kwargs: pytest.fail("a network ran"))
    with pytest.raises(InputError, match=message) as error:
        pipe(**with_settings(**{"reference": reference, "poses": poses} | change))
    assert isinstance(error.value, ValueError) and str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("scale", [1e40, -1e300])
def test_a_guidance_beyond_all_bounds_ends_the_run(pipe, reference, poses, scale):
    with pytest.raises(InputError, match=r"Step 1 of 4 gave values that are not finite: the guidance of .* too large"):
        pipe(reference, poses, guidance_scale=scale)


@pytest.mark.parametrize("role", ["unet", "appearance", "pose", "vae"])
def test_damaged_weights_end_the_run(make_tiny, reference, poses, role):
    pipe = MagicDancePipeline(make_tiny())
    for weight in getattr(pipe, role).parameters():
        weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="Step 1 of 4 gave values that are not finite: .*damaged weights"):
        pipe(reference, poses)


def test_a_damaged_decoder_ends_the_run(make_tiny, reference, poses):
    pipe = MagicDancePipeline(make_tiny())
    for weight in pipe.vae.decoder.parameters():
        weight.data.fill_(float("inf"))
    with pytest.raises(InputError, match="The VAE gave values that are not finite"):
        pipe(reference, poses)


def test_float16_is_named_as_a_possible_cause():
    overflown = torch.full((1, 4, 2, 2), float("inf"))
    half, single = (FiniteCheck(5, dtype, 7.0) for dtype in (torch.float16, torch.float32))
    for check in (half, single):
        check.add(torch.zeros(1, 4, 2, 2), 1)
        check.add(overflown, 3)
        check.add(overflown, 2)
        check.add(torch.zeros(1, 4, 2, 2), 2)
    with pytest.raises(InputError, match="Step 3 of 5 .* overflow in float16, so compute in bfloat16"):
        half.check()
    with pytest.raises(InputError) as error:
        single.check()
    assert "float16" not in str(error.value)


@pytest.mark.parametrize("values", [{"strength": "1"}, {"strength": None}, {"start": "0"}, {"end": float("nan")}])
def test_controls_take_numbers(values):
    with pytest.raises(InputError, match="A control's"):
        Control(**values)


@pytest.mark.parametrize("path", [3, None, "", "a\0b", "x" * 5000, b"model"])
def test_invalid_model_paths_are_refused(pipe, path):
    for do in (MagicDancePipeline.from_single_file, MagicDancePipeline.from_pretrained, pipe.save_pretrained):
        with pytest.raises(InputError):
            do(path)
    with pytest.raises(InputError, match="torch_dtype is a str"):
        MagicDancePipeline.from_pretrained("model", torch_dtype="float16")


def test_networks_of_different_models(make_tiny, published):
    components = make_tiny()
    components.pose = published.pose
    with pytest.raises(InputError, match="ControlNet shrinks pictures 8 times and the VAE 4 times"):
        MagicDancePipeline(components)
