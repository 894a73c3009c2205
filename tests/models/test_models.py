"""The Appearance Control Model, multi-source attention and the Pose ControlNet."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel

from magicdance_core.models import (
    AppearanceControlModel,
    Networks,
    PoseControlNet,
    ReferenceSource,
    predict,
    project_bank,
    read_pose,
    read_reference,
)
from magicdance_core.models.attention import repeat_rows, self_attention_blocks

TIMESTEP = 500


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


@pytest.fixture
def networks(tiny):
    return Networks(tiny.unet, tiny.appearance, tiny.pose)


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LATENTS, REFERENCE, TEXT = draw(2, 4, 6, 10), draw(1, 4, 8, 8, seed=1), draw(1, 3, 12, seed=2)


def test_bank_holds_the_self_attention_inputs_of_the_whole_unet(tiny):
    whole = UNet2DConditionModel.from_config(tiny.unet.config)
    whole.load_state_dict(tiny.appearance.state_dict(), strict=False)
    seen = {}
    for name, block in self_attention_blocks(whole).items():
        block.attn1.register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0]}))
    whole(REFERENCE, TIMESTEP, TEXT)
    bank = tiny.appearance(REFERENCE, TIMESTEP, TEXT)
    assert list(bank) == list(seen)
    assert all(torch.allclose(bank[name], seen[name], atol=1e-5) for name in seen)


def test_layers_behind_the_last_record_are_removed(tiny):
    tiny.appearance.train()
    with torch.enable_grad():
        bank = tiny.appearance(REFERENCE, TIMESTEP, TEXT)
        sum(tokens.square().sum() for tokens in bank.values()).backward()
    silent = [name for name, weight in tiny.appearance.named_parameters() if weight.grad is None]
    assert not silent
    assert sum(p.numel() for p in tiny.appearance.parameters()) < sum(p.numel() for p in tiny.unet.parameters())


def test_gradient_checkpointing_records_each_block_once(tiny):
    plain = tiny.appearance(REFERENCE, TIMESTEP, TEXT)
    tiny.appearance.train()
    tiny.appearance.enable_gradient_checkpointing()
    with torch.enable_grad():
        bank = tiny.appearance(REFERENCE, TIMESTEP, TEXT)
        sum(tokens.square().sum() for tokens in bank.values()).backward()
    assert all(torch.allclose(bank[name], plain[name], atol=1e-5) for name in plain)
    assert all(weight.grad is not None for weight in tiny.appearance.parameters())


def test_bank_depends_on_the_timestep(tiny):
    one, other = (tiny.appearance(REFERENCE, t, TEXT) for t in (10, 900))
    assert any(not torch.allclose(one[name], other[name], atol=1e-3) for name in one)


def test_unet_without_controls_is_unchanged(networks):
    stock = UNet2DConditionModel.from_config(networks.unet.config)
    stock.load_state_dict(networks.unet.state_dict())
    expected = stock(LATENTS, TIMESTEP, TEXT.expand(2, -1, -1)).sample
    assert torch.allclose(predict(networks, LATENTS, TIMESTEP, TEXT), expected, atol=1e-5)


def test_attention_uses_both_sources(networks):
    """One layer against softmax(q [k, k_ref]^T) [v, v_ref], written out."""
    name, block = next(iter(self_attention_blocks(networks.unet).items()))
    attn, width = block.attn1, block.attn1.to_q.in_features
    own, tokens = draw(2, 5, width), draw(1, 7, width, seed=3)
    source = project_bank(networks.unet, {name: tokens})
    out = attn(own, source=source)
    both = torch.cat([own, tokens.expand(2, -1, -1)], dim=1)
    q, k, v = (
        x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (attn.to_q(own), attn.to_k(both), attn.to_v(both))
    )
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    assert torch.allclose(out, attn.to_out[0]((weights @ v).transpose(1, 2).flatten(2)), atol=1e-5)


def test_strength_weights_the_reference_tokens(networks):
    name, block = next(iter(self_attention_blocks(networks.unet).items()))
    own, tokens = draw(1, 5, block.attn1.to_q.in_features), draw(1, 7, block.attn1.to_q.in_features, seed=3)
    double = block.attn1(own, source=project_bank(networks.unet, {name: tokens}, strength=2.0))
    copies = block.attn1(own, source=project_bank(networks.unet, {name: torch.cat([tokens, tokens], dim=1)}))
    assert torch.allclose(double, copies, atol=1e-5)


def test_references_of_a_batch_are_independent(networks):
    """Two people, two frames each: consecutive frames share a row of the source."""
    people, latents = draw(2, 4, 8, 8, seed=4), draw(4, 4, 6, 10, seed=5)
    source = read_reference(networks, people, TIMESTEP, TEXT)
    together = predict(networks, latents, TIMESTEP, TEXT, source)
    for person in range(2):
        alone = read_reference(networks, people[person : person + 1], TIMESTEP, TEXT)
        rows = slice(2 * person, 2 * person + 2)
        assert torch.allclose(together[rows], predict(networks, latents[rows], TIMESTEP, TEXT, alone), atol=1e-5)


def test_rows_are_repeated_consecutively():
    x = torch.tensor([[1.0], [2.0]])
    assert repeat_rows(x, 4).flatten().tolist() == [1, 1, 2, 2]
    assert repeat_rows(x[:1], 3).untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_absent_controls_return_none(networks):
    plain = Networks(networks.unet)
    assert read_reference(plain, REFERENCE, TIMESTEP, TEXT) is None
    assert read_pose(plain, LATENTS, TIMESTEP, TEXT, torch.zeros(2, 3, 24, 40)) is None
    assert read_pose(networks, LATENTS, TIMESTEP, TEXT, None) is None
    assert read_reference(networks, REFERENCE, TIMESTEP, TEXT, strength=0.0) is None


def test_encoded_poses_equal_pose_maps(tiny):
    maps = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    hints = tiny.pose.encode_pose(maps)
    assert hints.shape == (2, 16, 6, 10) and tiny.pose.pose_scale_factor == 4
    one, other = (tiny.pose(LATENTS, TIMESTEP, TEXT, pose) for pose in (maps, hints))
    assert all(torch.equal(a, b) for a, b in zip((*one.down, one.mid), (*other.down, other.mid), strict=True))


def test_pose_strength_scales_the_residuals(tiny):
    maps = torch.rand(2, 3, 24, 40)
    one, half = (tiny.pose(LATENTS, TIMESTEP, TEXT, maps, strength) for strength in (1.0, 0.5))
    assert torch.allclose(one.mid / 2, half.mid, atol=1e-6)


@pytest.mark.parametrize("kind", [AppearanceControlModel, PoseControlNet])
def test_networks_save_and_load_like_diffusers_models(tiny, tmp_path, kind):
    network = tiny.appearance if kind is AppearanceControlModel else tiny.pose
    network.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    copied = copy.deepcopy(network)
    inputs = (
        (REFERENCE, TIMESTEP, TEXT)
        if kind is AppearanceControlModel
        else (LATENTS, TIMESTEP, TEXT, torch.ones(2, 3, 24, 40))
    )
    outs = [net(*inputs) for net in (network, loaded, copied)]
    first = [out if isinstance(out, dict) else {"mid": out.mid} for out in outs]
    assert all(torch.equal(first[0][name], other[name]) for other in first[1:] for name in first[0])


def test_bank_with_an_unknown_block_is_refused(networks):
    with pytest.raises(KeyError):
        project_bank(networks.unet, {"nowhere": torch.zeros(1, 2, 3)})
    assert ReferenceSource({}, {}).strength == 1.0
