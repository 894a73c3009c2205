"""Nodes that load, control and sample, called as ComfyUI calls them."""

import inspect
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import pytest
import torch

SAMPLE = {
    "seed": 3, "steps": 2, "cfg": 2.0, "sampler_name": "default", "control_mode": "controlnet_important",
    "frames_per_batch": 2, "decode_chunk_size": 2, "preset": "exact",
}  # fmt: skip


@pytest.fixture
def reference():
    return torch.rand(1, 32, 32, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def poses(pose_maps):
    return pose_maps(3, 32, 32)


@pytest.fixture
def sample(node, held, reference, poses):
    """Return a function that runs the sampler with few steps: `sample(**changes)`."""
    return lambda **changes: node("Sample").sample(
        **{"model": held, "reference": reference, "poses": poses} | SAMPLE | changes
    )


def pipeline(core, tiny, reference, poses, **settings):
    settings = {
        "num_inference_steps": 2,
        "guidance_scale": 2.0,
        "frames_per_batch": 2,
        "decode_chunk_size": 2,
    } | settings
    prompts = {name: settings.pop(name) for name in ("prompt_embeds", "negative_prompt_embeds") if name in settings}
    out = core("pipeline").MagicDancePipeline(tiny)(
        reference.movedim(-1, 1), poses.movedim(-1, 1), generator=torch.Generator().manual_seed(3), output_type="pt",
        settings=core("sampling").SamplingSettings(**settings), **prompts,
    )  # fmt: skip
    return out.frames.movedim(1, -1)


# ------------------------------------------------------------------------------------------------ sampling


def test_node_and_pipeline_give_equal_pixels(sample, core, tiny, reference, poses):
    frames, latent = sample()
    assert frames.shape == (3, 32, 32, 3) and frames.dtype == torch.float32
    assert latent["samples"].shape == (3, 4, 8, 8)
    assert torch.equal(frames, pipeline(core, tiny, reference, poses))


def test_zero_steps_and_cfg_are_the_models_defaults(sample, core, tiny, reference, poses):
    own = pipeline(core, tiny, reference, poses, num_inference_steps=None, guidance_scale=None)
    assert torch.equal(sample(steps=0, cfg=0.0)[0], own)


def test_prompts_and_balance_match_the_pipeline(sample, core, tiny, reference, poses):
    texts = torch.randn(2, 1, 5, 12, generator=torch.Generator().manual_seed(4))
    frames, _ = sample(control_mode="balance", positive=[[texts[0], {}]], negative=[[texts[1], {}]])
    expected = pipeline(
        core, tiny, reference, poses, control_mode="balance", prompt_embeds=texts[0], negative_prompt_embeds=texts[1]
    )
    assert torch.equal(frames, expected)


@pytest.mark.parametrize("name", ["ddim", "dpmpp_2m_karras", "euler_ancestral", "lcm", "tcd"])
def test_samplers_give_finite_frames(sample, name):
    assert sample(sampler_name=name)[0].isfinite().all()


def test_presets_match_the_pipeline_and_widgets_override_them(sample, core, tiny, reference, poses):
    fast, schedule = core("sampling").PRESETS["fast"], core("schedule")
    own = tiny.scheduler
    tiny.scheduler = schedule.named_scheduler(fast.scheduler, own)
    steps = fast.count(tiny.defaults["num_inference_steps"])
    expected = pipeline(core, tiny, reference, poses, num_inference_steps=steps, shortcuts=fast.shortcuts)
    assert torch.equal(sample(steps=0, preset="fast")[0], expected)
    tiny.scheduler = schedule.named_scheduler("euler", own)
    expected = pipeline(core, tiny, reference, poses, num_inference_steps=3, shortcuts=fast.shortcuts)
    assert torch.equal(sample(steps=3, sampler_name="euler", preset="fast")[0], expected)
    assert torch.equal(sample(preset="exact")[0], sample()[0])


def test_speed_options_replace_the_presets_shortcuts(sample, node, core):
    (nothing,) = node("SpeedOptions").make(0.0, 1.0, 1, 1)
    assert nothing == core("sampling").Shortcuts()
    (some,) = node("SpeedOptions").make(0.5, 1.0, 2, 1)
    assert torch.equal(sample(speed_options=nothing)[0], sample()[0])
    assert not torch.equal(sample(speed_options=some)[0], sample()[0])


def test_batches_do_not_change_the_result(sample):
    assert torch.allclose(sample()[0], sample(frames_per_batch=256, decode_chunk_size=256)[0], atol=1e-5)


def test_transparent_parts_of_the_reference_become_white(sample, reference):
    hidden, mask = reference.clone(), torch.zeros(1, 32, 32)
    mask[:, :, 16:] = 1.0
    hidden[:, :, 16:] = 0.25
    white = reference.clone()
    white[:, :, 16:] = 1.0
    assert torch.equal(sample(reference=hidden, reference_mask=mask)[0], sample(reference=white)[0])
    assert torch.equal(sample(reference_mask=torch.zeros(1, 64, 64))[0], sample()[0])  # Load Image without transparency
    for wrong in (torch.ones(1, 16, 16), torch.ones(3, 32, 32)):
        with pytest.raises(ValueError, match="`reference_mask` has .* and `reference` .*: connect both of one node"):
            sample(reference_mask=wrong)
    with pytest.raises(ValueError, match="`reference_mask` is not a MASK"):
        sample(reference_mask="mask")


def test_inputs_are_not_modified_and_may_have_any_dtype_and_channels(sample, reference, poses):
    kept = reference.clone(), poses.clone()
    frames, _ = sample()
    assert torch.equal(reference, kept[0]) and torch.equal(poses, kept[1])
    alpha = torch.cat([poses, torch.zeros(3, 32, 32, 1)], dim=-1)
    assert torch.equal(sample(poses=alpha)[0], frames)
    assert sample(poses=poses.half(), reference=reference.half())[0].dtype == torch.float32
    assert sample(poses=poses[:1])[0].shape == (1, 32, 32, 3)
    assert sample(reference=reference[..., :1])[0].shape == frames.shape
    assert not torch.equal(sample(reference=torch.rand(2, 32, 32, 3))[0], frames)


def test_sizes_are_rounded_to_what_the_model_takes(sample, pose_maps):
    frames, _ = sample(poses=pose_maps(2, 35, 50), reference=torch.rand(1, 90, 41, 3))
    assert frames.shape == (2, 36, 48, 3)


def test_one_progress_bar_covers_the_run(sample, comfy):
    sample()
    (bar,) = comfy.bars
    values = [value for value, *_ in bar]
    assert values == sorted(values) and values[-1] == bar[-1][1] == 3 * (2 + 1)


def test_networks_of_a_phase_are_loaded_together(sample, comfy, held):
    sample()
    first, second, third = comfy.loads
    assert first[0] == third[0] == [held.vae]
    assert second[0] == [held.unet, held.appearance, held.pose]
    assert all(memory > 0 for _, memory in comfy.loads)


def test_an_interrupt_stops_between_blocks_and_leaves_the_next_run_unchanged(sample, comfy, held):
    frames, _ = sample()
    whole, comfy.checks = comfy.checks, 0
    assert 60 < whole < 300  # blocks of all runs of all networks: never a long wait, nor a question a layer
    comfy.interrupt_after = whole // 2
    with pytest.raises(Exception) as error:
        sample()
    assert type(error.value).__name__ == "Interrupt"
    comfy.interrupt_after = None
    assert torch.equal(sample()[0], frames)
    assert not any(module._forward_pre_hooks for module in held.unet.model.modules())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"poses": torch.zeros(0, 32, 32, 3)}, "`poses` has no pictures"),
        ({"poses": torch.full((1, 32, 32, 3), float("nan"))}, "not finite"),
        ({"reference": torch.zeros(32, 32, 3)}, "`reference` is not an IMAGE"),
        ({"reference": torch.zeros(300, 32, 32, 3)}, "holds 300 pictures"),
        ({"positive": [[torch.zeros(1, 77, 2048), {}]]}, "another model's CLIP"),
        ({"negative": [[torch.zeros(1, 5, 12), {}]] * 2}, "2 prompts"),
    ],
)
def test_unusable_inputs_are_refused(sample, changes, message):
    with pytest.raises(ValueError, match=message):
        sample(**changes)


@pytest.mark.parametrize(
    "missing, message",
    [
        ({"appearance": None, "pose": None}, "has no control: put Apply Appearance, Apply Pose or both"),
        ({"context": None}, "connect one to `positive`"),
    ],
)
def test_a_missing_network_is_named_with_the_node_that_adds_it(sample, held, missing, message):
    from dataclasses import replace

    with pytest.raises(ValueError, match=message):
        sample(model=replace(held, **missing))


@pytest.mark.parametrize("missing", ["appearance", "pose"])
def test_one_control_works_alone_and_the_node_says_which(sample, held, core, tiny, reference, poses, missing, caplog):
    from dataclasses import replace

    frames, _ = sample(model=replace(held, **{missing: None}))
    assert torch.equal(frames, pipeline(core, replace(tiny, **{missing: None}), reference, poses))
    assert ("reference has no effect" if missing == "appearance" else "poses only give number and size") in caplog.text


def test_a_reference_is_left_out_or_asked_for(sample, held):
    from dataclasses import replace

    alone = replace(held, appearance=None)
    assert torch.equal(sample(model=alone, reference=None)[0], sample(model=alone)[0])
    with pytest.raises(ValueError, match="`reference` is not connected: connect a picture of the person"):
        sample(reference=None)


def test_models_without_text_encoder_refuse_prompts(sample, held):
    from dataclasses import replace

    with pytest.raises(ValueError, match="takes no prompts"):
        sample(model=replace(held, takes_prompts=False), positive=[[torch.zeros(1, 5, 12), {}]])


def test_photographs_for_the_embedded_model_cause_a_warning(node, held, comfy, caplog):
    from dataclasses import replace

    reference, poses, *_ = node("Puppets").draw(1, 2, 2, 4, 64, 64)
    held = replace(held, defaults=held.defaults | {"sample_size": 64})
    photograph = torch.rand(1, 64, 64, 3, generator=torch.Generator().manual_seed(1))
    sampler, puppets_only = node("Sample"), replace(held, puppets_only=True)

    def run(model, reference):
        sampler.sample(model=model, reference=reference, poses=poses, **SAMPLE)

    run(held, photograph)
    run(puppets_only, reference)
    assert comfy.texts == [] and caplog.text == ""
    run(puppets_only, photograph)
    assert "Photographs need" in caplog.text and [node for _, node in comfy.texts] == ["7"]
    run(puppets_only, reference)
    assert comfy.texts[1:] == [("", "7")]  # and goes with the next run


# ------------------------------------------------------------------------------------------------ controls


def test_controls_do_not_modify_the_model(node, held, sample, pose_maps):
    own = "default"
    (weaker,) = node("ApplyAppearance").apply(held, own, 0.0, 0.0, 1.0)
    (none,) = node("ApplyPose").apply(weaker, own, 0.0, 0.0, 1.0)
    assert held.appearance_control is None and none.unet is held.unet
    plain = sample(model=none)[0]
    assert torch.equal(
        plain, sample(model=none, reference=torch.rand(1, 32, 32, 3), poses=pose_maps(3, 32, 32, seed=5))[0]
    )
    assert not torch.equal(plain, sample()[0])
    with pytest.raises(FrozenInstanceError):
        held.pose = None


def test_a_range_that_ends_before_it_starts_is_refused(node, held):
    with pytest.raises(ValueError, match="start <= end"):
        node("ApplyPose").apply(held, "default", 1.0, 0.8, 0.2)


def test_controls_are_loaded_from_files_once(node, comfy, published_files):
    (comfy.models / "magicdance" / "all.th").hardlink_to(published_files[".th"])
    (comfy.models / "checkpoints" / "sd.safetensors").hardlink_to(published_files[".safetensors"])
    (plain,) = node("LoadBackbone").load("sd.safetensors")
    assert plain.appearance is None and plain.pose is None and plain.takes_prompts
    appearance = node("ApplyAppearance")
    (one,) = appearance.apply(plain, "all.th", 1.0, 0.0, 1.0)
    (two,) = appearance.apply(plain, "all.th", 0.5, 0.0, 1.0)
    assert one.appearance is two.appearance is not None  # nothing is read again for another strength
    (full,) = node("ApplyPose").apply(two, "all.th", 1.0, 0.0, 1.0)
    assert full.pose is not None and full.appearance_control.strength == 0.5
    assert "all.th" in node("ApplyPose").INPUT_TYPES()["required"]["control_net_name"][0]


def test_missing_and_unfit_controls_are_refused(node, comfy, held, published_files):
    from dataclasses import replace

    with pytest.raises(ValueError, match="came without a Pose ControlNet"):
        node("ApplyPose").apply(replace(held, pose=None), "default", 1.0, 0.0, 1.0)
    (comfy.models / "controlnet" / "other.safetensors").hardlink_to(published_files[".safetensors"])
    with pytest.raises(ValueError, match="another kind of model"):
        node("ApplyPose").apply(held, "other.safetensors", 1.0, 0.0, 1.0)
    (comfy.models / "magicdance" / "text.safetensors").write_text("not tensors")
    with pytest.raises(ValueError, match="cannot be read|is damaged"):
        node("ApplyAppearance").apply(held, "text.safetensors", 1.0, 0.0, 1.0)
    valid = type(node("ApplyPose")).VALIDATE_INPUTS
    assert valid("default") is True and "models/controlnet" in valid("gone.pth")
    assert "refresh" in type(node("ApplyAppearance")).VALIDATE_INPUTS("gone.pth")


# ------------------------------------------------------------------------------------------------ backbones


def test_the_published_checkpoint_is_loaded_whole(node, comfy, published_files):
    (comfy.models / "magicdance" / "model_state-110000.th").hardlink_to(published_files[".th"])
    loader = node("LoadPublished")
    assert loader.INPUT_TYPES()["required"]["ckpt_name"][0] == ["model_state-110000.th"]
    assert loader.VALIDATE_INPUTS("model_state-110000.th") is True
    (model,) = loader.load("model_state-110000.th")
    assert model.appearance and model.pose and model.defaults["num_inference_steps"] == 50
    for name in ("", "gone.th"):
        assert "huggingface.co" in loader.VALIDATE_INPUTS(name)


def test_model_folders_and_the_embedded_model_are_loaded(node, comfy, core, tiny, monkeypatch):
    folder = comfy.models / "magicdance" / "mine"
    core("checkpoints").save_folder(folder, tiny)
    loader = node("LoadPublished")
    assert loader.INPUT_TYPES()["required"]["ckpt_name"][0] == ["mine"]
    assert loader.load("mine")[0].takes_prompts is False
    monkeypatch.setattr(core("pipeline"), "EMBEDDED", folder)
    backbone = node("LoadBackbone")
    assert backbone.INPUT_TYPES()["required"]["ckpt_name"][0] == ["embedded"]
    assert backbone.load("embedded")[0] is backbone.load("embedded")[0]
    with pytest.raises(ValueError, match="disconnect it"):
        backbone.load("embedded", vae=SimpleNamespace(get_sd=dict, encode=len))
    monkeypatch.setattr(core("pipeline"), "EMBEDDED", folder / "gone")
    with pytest.raises(ValueError, match="install the pack again"):
        node("LoadBackbone").load("embedded")
    assert "models/checkpoints" in backbone.VALIDATE_INPUTS("gone.safetensors")


class ComfyModel:
    """Stand-in for ComfyUI's MODEL and VAE of a checkpoint."""

    def __init__(self, comfy_modules, tensors):
        import sys

        cut = {}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            cut.setdefault(part, {})[rest] = tensor
        self.unet = {name.removeprefix("diffusion_model."): tensor for name, tensor in cut["model"].items()}
        self.vae = cut["first_stage_model"]

        class Inner:
            model_config = sys.modules["comfy.supported_models"].SD15()

        self.model = Inner()
        self.model.diffusion_model = torch.nn.Module()
        self.model.diffusion_model.state_dict = lambda: self.unet
        self.patches_uuid = 0
        self.sampling = object()

    def get_model_object(self, name):
        return self.sampling

    def get_sd(self):
        return self.vae

    def clone(self):
        raise NotImplementedError

    encode = clone


class Clip:
    """Stand-in for ComfyUI's CLIP, whose embeddings have a shape."""

    def __init__(self, *shape):
        self.shape, self.cond_stage_model = shape, torch.nn.Module()
        self.patcher = SimpleNamespace(patches_uuid=0)

    def tokenize(self, text):
        assert text == ""
        return {"l": []}

    def encode_from_tokens(self, tokens):
        return torch.ones(self.shape)


def test_model_and_vae_of_comfyui_are_converted_with_their_patches(node, comfy, published_files):
    import sys

    from safetensors.torch import load_file

    mine = ComfyModel(sys.modules, load_file(published_files[".safetensors"]))
    taker = node("FromModel")
    (model,) = taker.take(mine, mine)
    key = "input_blocks.0.0.weight"
    assert torch.equal(model.unet.model.inner.conv_in.weight, mine.unet[key])
    assert model.context is None and comfy.loads == [([mine], 0)]
    mine.unet[key], mine.patches_uuid = mine.unet[key] + 1, 1  # a LoRA
    (patched,) = taker.take(mine, mine)
    assert torch.equal(patched.unet.model.inner.conv_in.weight, model.unet.model.inner.conv_in.weight + 1)
    assert patched.vae is model.vae and taker.take(mine, mine)[0].unet is patched.unet
    mine.sampling = sys.modules["comfy.model_sampling"].V_PREDICTION()
    assert taker.take(mine, mine)[0].scheduler.config.prediction_type == "v_prediction"
    width = model.unet.model.inner.config.cross_attention_dim
    assert torch.equal(taker.take(mine, mine, Clip(1, 77, width))[0].context, torch.ones(1, 77, width))
    for shape in ((1, 256, 4096), (77, width)):
        with pytest.raises(ValueError, match="CLIP is not the one of Stable Diffusion 1.5: connect the checkpoint's"):
            taker.take(mine, mine, Clip(*shape))
    mine.unet[key] = torch.zeros(32, 9, 3, 3)
    with pytest.raises(ValueError, match="has 9 input channels, as for inpainting"):
        node("FromModel").take(mine, mine)
    mine.model.model_config = object()
    with pytest.raises(ValueError, match="family object: connect one of Stable Diffusion 1.5"):
        node("FromModel").take(mine, mine)
    mine.vae = {"taesd": torch.zeros(1)}
    with pytest.raises(ValueError, match="VAE is not one of"):
        node("LoadBackbone")._vae(0, lambda: inspect.getmodule(type(taker))._convert_vae(mine))
