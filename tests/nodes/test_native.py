"""The nodes for ComfyUI's own MODEL with stand-ins for MODEL and sampler (real ones: tests/comfyui)."""

import importlib
import math
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

BLOCK = ("middle", 0, 0)


class Model:
    """Stand-in for the ModelPatcher of a Stable Diffusion 1.5 MODEL."""

    def __init__(self, family, shapes: dict):
        sampling = SimpleNamespace(percent_to_sigma=lambda part: 10.0 * (1 - part), timestep=lambda sigma: sigma * 100)
        self.model = SimpleNamespace(
            model_config=family(), process_latent_in=lambda samples: samples * 0.5, model_sampling=sampling
        )
        self.shapes = shapes
        self.model_options = {"transformer_options": {}}
        self.attachments, self.additional, self.wrappers = {}, {}, {}

    def clone(self):
        copy = Model(type(self.model.model_config), self.shapes)
        copy.model = self.model
        copy.attachments, copy.additional = dict(self.attachments), dict(self.additional)
        copy.wrappers = dict(self.wrappers)
        copy.model_options = {"transformer_options": dict(self.model_options["transformer_options"])}
        return copy

    def model_state_dict(self, prefix):
        return {prefix + name: torch.empty(shape, device="meta") for name, shape in self.shapes.items()}

    def get_attachment(self, key):
        return self.attachments.get(key)

    def set_attachments(self, key, thing):
        self.attachments[key] = thing

    def set_additional_models(self, key, models):
        self.additional[key] = models

    def add_wrapper_with_key(self, kind, key, wrapper):
        assert kind not in self.wrappers
        self.wrappers[kind] = wrapper

    def get_model_object(self, name):
        return getattr(self.model, name)


class Executor:
    """Stand-in for the executor that a wrapper gets."""

    def __init__(self, call, owner=None):
        self.call, self.class_obj = call, owner

    def __call__(self, *args, **kwargs):
        return self.call(*args, **kwargs)


@pytest.fixture
def patch(pack, monkeypatch):
    """Import the patch, with stand-ins for the modules of ComfyUI that it imports."""
    kinds = SimpleNamespace(
        OUTER_SAMPLE="run", SAMPLER_SAMPLE="sampler", CALC_COND_BATCH="branches", APPLY_MODEL="model"
    )
    module = ModuleType("comfy.patcher_extension")
    module.WrappersMP = kinds
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(sys.modules["comfy"], "patcher_extension", module, raising=False)
    return importlib.import_module(f"{pack.__name__}.nodes.comfy.model_patch")


@pytest.fixture
def appearance(pack, tiny):
    return importlib.import_module(f"{pack.__name__}.nodes.comfy.memory").hold(tiny.appearance, "appearance")


@pytest.fixture
def model(patch, appearance):
    names = patch._attention_paths(appearance.model.inner)
    widths = {path: appearance.model.inner.get_submodule(name).norm1.weight.shape for name, path in names.items()}
    return Model(sys.modules["comfy.supported_models"].SD15, {f"{path}.norm1.weight": w for path, w in widths.items()})


@pytest.fixture
def apply(node, model, appearance, patch):
    def call(to=model, strength=1.0, start_percent=0.0, end_percent=1.0, control_mode="controlnet_important", **more):
        more = {"reference": {"samples": torch.ones(1, 4, 8, 8)}} | more
        return node("ApplyAppearanceToModel").apply(
            to, appearance, strength, start_percent, end_percent, control_mode, **more
        )[0]

    return call


TEXT = torch.randn(1, 3, 12, generator=torch.Generator().manual_seed(1))


def run(model, sigmas=(5.0,), texts=(TEXT, TEXT), frames=2):
    """Run the sampler; return the UNet's calls (indices of conditionings, options), and the number of network runs."""
    calls, reads = [], []
    network = model.attachments["magicdance_appearance"][0].network.model.inner
    hook = network.register_forward_pre_hook(lambda *_: reads.append(1))
    guider = SimpleNamespace(
        model_patcher=model,
        model_options=model.model_options,
        conds={branch: [{"uuid": branch}] for branch in ("positive", "negative")},
    )

    def unet(x, t, c_concat, c_crossattn, control, options):
        calls.append((tuple(options["cond_or_uncond"]), options))

    def branches(_, conds, x, sigma, options):
        for index, branch in enumerate(conds):
            if branch is not None:
                told = {**options["transformer_options"], "cond_or_uncond": [index], "uuids": [branch[0]["uuid"]]}
                text = texts[index].expand(len(x), -1, -1)
                model.wrappers["model"](Executor(unet, model.model), x, sigma, None, text, None, told)
        return [None if branch is None else x + index for index, branch in enumerate(conds)]

    def sampler(guider):
        conds = [guider.conds["positive"], guider.conds["negative"]]
        for sigma in sigmas:
            sigma = torch.full((frames,), sigma)
            model.wrappers["branches"](
                Executor(branches), None, conds, torch.zeros(frames, 4, 8, 8), sigma, guider.model_options
            )

    try:
        noise = torch.zeros(frames, 4, 8, 8)
        model.wrappers["run"](Executor(lambda _: model.wrappers["sampler"](Executor(sampler), guider), guider), noise)
    finally:
        hook.remove()
    return calls, len(reads)


def seen(calls) -> dict:
    """Return the number of reference tokens in the middle block: indices of conditionings -> number."""
    return {
        branch: options["magicdance_tokens"].blocks[BLOCK].shape[1] if "magicdance_tokens" in options else 0
        for branch, options in calls
    }


def test_only_the_positive_prediction_uses_the_reference(apply):
    calls, reads = run(apply())
    assert seen(calls) == {(0,): 16, (1,): 0} and reads == 1
    assert "patches" not in calls[1][1]


def test_balance_uses_the_reference_in_both_predictions(apply):
    calls, reads = run(apply(control_mode="balance"))
    assert seen(calls) == {(0,): 16, (1,): 16} and reads == 1
    assert run(apply(control_mode="balance"), texts=(TEXT, 2 * TEXT))[1] == 2
    assert run(apply(control_mode="balance", text=[[TEXT, {}]]), texts=(TEXT, 2 * TEXT))[1] == 1


def test_the_network_runs_once_for_each_different_prompt(apply):
    calls, reads = run(apply(), texts=(torch.cat([TEXT, 2 * TEXT, TEXT]), TEXT), frames=3)
    tokens = calls[0][1]["magicdance_tokens"].blocks[BLOCK]
    assert reads == 2 and len(tokens) == 3
    assert torch.equal(tokens[0], tokens[2]) and not torch.equal(tokens[0], tokens[1])
    assert run(apply(text=[[TEXT, {}]]), texts=(torch.cat([TEXT, 2 * TEXT]), TEXT))[1] == 1


def test_the_network_runs_once_per_noise_level(apply):
    assert run(apply(), sigmas=(5.0, 5.0, 3.0, 1.0))[1] == 3


def test_chained_nodes_add_up(apply, model):
    twice = apply(apply(), reference={"samples": torch.zeros(2, 4, 8, 8)})
    calls, reads = run(twice)
    assert seen(calls) == {(0,): 16 * 3, (1,): 0} and reads == 2
    assert len(twice.additional["magicdance_appearance"]) == 1  # one network for both
    assert not model.attachments and not model.wrappers  # the input is not modified


def test_strength_zero_adds_no_patch(apply):
    assert not apply(strength=0.0).wrappers


def test_the_network_does_not_run_outside_its_range(apply):
    calls, reads = run(apply(start_percent=0.2, end_percent=0.6), sigmas=(9.0, 6.0, 2.0))
    assert [seen([call])[(0,)] for call in calls if call[0] == (0,)] == [0, 16, 0] and reads == 1


def test_tokens_are_appended_after_other_attention_patches(apply):
    patched, other = apply(), object()
    patched.model_options["transformer_options"]["patches"] = {"attn1_patch": [other]}
    (_, options), _ = run(patched)[0]
    assert options["patches"]["attn1_patch"][0] is other and len(options["patches"]["attn1_patch"]) == 2


def attend(tokens, own: torch.Tensor, size, patch) -> torch.Tensor:
    """Return the output of self-attention with identity projections, with the patches called as in ComfyUI's block."""
    options = {"magicdance_tokens": tokens, "block": BLOCK[:2], "block_index": 0}
    q, k, v = patch.append_tokens(own, own, own, options)
    assert k is v
    bias = tokens.bias(BLOCK, q, k.shape[1], size) if tokens.weighted else None
    return F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], attn_mask=bias)[:, 0]


def test_strength_weights_tokens_as_the_core_does(patch):
    tokens, own = torch.randn(1, 6, 5), torch.randn(2, 4, 5)
    made = patch.ReferenceTokens({BLOCK: tokens}, {BLOCK: (6,)}, ((0.5, None),))
    keys = torch.cat([own, tokens.expand(2, -1, -1)], dim=1)
    mask = torch.tensor([0.0] * 4 + [math.log(0.5)] * 6)
    expected = F.scaled_dot_product_attention(own, keys, keys, attn_mask=mask)
    assert torch.allclose(attend(made, own, (2, 2), patch), expected, atol=1e-6)


def test_masks_give_each_part_its_own_reference(patch):
    first, second, own = torch.randn(1, 6, 5), torch.randn(1, 3, 5), torch.randn(2, 4, 5)
    left = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    both = patch.ReferenceTokens(
        {BLOCK: torch.cat([first, second], dim=1)}, {BLOCK: (6, 3)}, ((1.0, left), (1.0, 1 - left))
    )
    out = attend(both, own, (2, 2), patch)
    for tokens, columns in ((first, (0, 2)), (second, (1, 3))):
        alone = patch.ReferenceTokens({BLOCK: tokens}, {BLOCK: (tokens.shape[1],)}, ((1.0, None),))
        assert torch.allclose(out[:, columns], attend(alone, own, (2, 2), patch)[:, columns], atol=1e-6)


def test_masks_are_matched_to_frames(patch, apply):
    masks = torch.stack([torch.full((8, 8), float(frame)) for frame in range(2)])
    (_, options), _ = run(apply(mask=masks))[0]
    ((_, place),) = options["magicdance_tokens"].weights
    assert place.shape == (2, 1, 8, 8) and place[0].max() == 0 and place[1].min() == 1
    with pytest.raises(ValueError, match="3 masks for 2 frames"):
        run(apply(mask=torch.ones(3, 8, 8)))


def test_prompts_of_another_model_are_refused(apply):
    with pytest.raises(ValueError, match="The prompt was encoded with another model's CLIP"):
        run(apply(), texts=(torch.zeros(1, 3, 99),) * 2)


def test_references_of_another_size_are_logged(apply, caplog):
    calls, _ = run(apply(reference={"samples": torch.ones(1, 4, 8, 16)}))
    assert seen(calls)[(0,)] == 32
    assert "The reference has 128 x 64 pixels, the frames have 64 x 64: for the best likeness" in caplog.text


@pytest.mark.parametrize("family", ["SDXL", "SD20"])
def test_other_model_families_are_refused(apply, model, family):
    other = Model(getattr(sys.modules["comfy.supported_models"], family), model.shapes)
    with pytest.raises(ValueError, match=f"family {family}: connect one of Stable Diffusion 1.5"):
        apply(other)


def test_other_widths_are_refused(apply, model):
    model.shapes = {name: (64,) for name in model.shapes}
    with pytest.raises(ValueError, match="of width 32, the connected MODEL has .* of width 64: choose both"):
        apply()


def test_replaced_self_attention_is_refused_by_name(apply):
    class Other:
        def replace(self):
            pass

    replaced = {"patches_replace": {"attn1": {("middle", 0): Other.replace}}}
    patched = apply()
    patched.model_options["transformer_options"] |= replaced
    with pytest.raises(
        ValueError, match=r"replaced by test_replaced_self_attention_is_refused_by_name \(.*test_native\)"
    ):
        run(patched)
    with pytest.raises(ValueError, match="remove that node"):
        apply(patched)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"reference": {"samples": torch.zeros(1, 16, 8, 8)}}, "4 channels of Stable Diffusion 1.5: encode"),
        ({"reference": {"samples": torch.zeros(1, 4, 3, 8, 8)}}, "4 channels of Stable Diffusion 1.5: encode"),
        ({"reference": {"samples": torch.full((1, 4, 8, 8), torch.nan)}}, "not finite"),
        ({"reference": {"samples": torch.zeros(33, 4, 8, 8)}}, "33 pictures: connect 1 to 32"),
        ({"reference": None}, "There is no reference: connect"),
        ({"reference": None, "image": torch.zeros(1, 64, 64, 3)}, "There is no reference: connect"),
        ({"image": torch.zeros(1, 64, 64, 3)}, "both connected: disconnect one"),
        ({"mask": torch.zeros(1, 0, 8)}, "is not a MASK"),
        ({"text": [[torch.zeros(1, 3, 99), {}]]}, "another model's CLIP"),
        ({"text": [[TEXT, {}]] * 2}, "holds 2 prompts"),
        ({"start_percent": 0.7, "end_percent": 0.2}, "0 <= start <= end <= 1"),
    ],
)  # fmt: skip
def test_unusable_inputs_are_refused(apply, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        apply(**changes)


def test_an_image_is_encoded_once(node, model, appearance, patch):
    encoded = []
    apply, picture = node("ApplyAppearanceToModel").apply, torch.rand(1, 64, 64, 3)

    class Vae:
        get_sd = dict

        def encode(self, pictures):
            encoded.append(pictures.shape)
            return torch.ones(1, 4, 8, 8)

    vae = Vae()
    for strength in (1.0, 0.5):
        (patched,) = apply(model, appearance, strength, 0.0, 1.0, "balance", image=picture, vae=vae)
        (source,) = patched.attachments["magicdance_appearance"]
        assert source.latents.unique() == 0.5  # as the MODEL takes them
    assert encoded == [(1, 64, 64, 3)]
    vae.latent_channels, vae.latent_dim = 64, 1  # a VAE of sound
    with pytest.raises(ValueError, match="latents of 64 channels in 1 dimensions: connect one of Stable Diffusion 1.5"):
        node("ApplyAppearanceToModel").apply(model, appearance, 1.0, 0.0, 1.0, "balance", image=picture, vae=vae)


def test_empty_frames_have_the_size_of_the_poses(node, pose_maps):
    (latent,) = node("EmptyFrames").make(pose_maps(3, 64, 100), True)
    assert latent["samples"].shape == (3, 4, 8, 12) and latent["batch_index"] == [0, 0, 0]
    assert "batch_index" not in node("EmptyFrames").make(pose_maps(3, 64, 64), False)[0]
    with pytest.raises(ValueError, match="sides of at least 8"):
        node("EmptyFrames").make(torch.zeros(3, 4, 64, 3), True)


def test_a_checkpoint_is_split_into_comfyuis_models(node, comfy, published_files, monkeypatch):
    for suffix, file in published_files.items():
        (comfy.models / "magicdance" / f"model{suffix}").hardlink_to(file)
    given = {}
    sd, controlnet = ModuleType("comfy.sd"), ModuleType("comfy.controlnet")
    sd.load_state_dict_guess_config = lambda tensors, **more: given.update(tensors) or ("MODEL", "CLIP", "VAE", None)
    controlnet.load_controlnet_state_dict = lambda tensors: tensors
    for module in (sd, controlnet):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(sys.modules["comfy"], module.__name__.split(".")[1], module, raising=False)
    monkeypatch.setattr(sys.modules["folder_paths"], "get_folder_paths", lambda key: [str(comfy.models / key)])
    for suffix in published_files:
        given.clear()
        assert node("LoadPublishedAsModel").load(f"model{suffix}") == ("MODEL", "CLIP", "VAE")
        prefixes = {name.split(".")[0] for name in given}
        assert prefixes == {"model", "first_stage_model", "cond_stage_model"}
        (net,) = node("LoadPoseControlNet").load(f"model{suffix}")
        assert "zero_convs.0.0.weight" in net and "input_hint_block.14.bias" in net
        (held,) = node("LoadAppearance").load(f"model{suffix}")
        assert type(held.model.inner).__name__ == "AppearanceControlModel"


def test_missing_files_are_refused(pack):
    for name in ("LoadPublishedAsModel", "LoadPoseControlNet", "LoadAppearance"):
        said = pack.NODE_CLASS_MAPPINGS[f"MagicDance{name}"].VALIDATE_INPUTS("gone.th")
        assert "gone.th is not in models/magicdance" in said
