"""References that act in regions of the frames."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from magicdance_core import MagicDancePipeline
from magicdance_core.errors import InputError
from magicdance_core.models import ReferenceReader, downscaling, project_bank
from magicdance_core.models.attention import ReferenceSource, attend
from magicdance_core.sampling import Control, Region, SamplingSettings
from magicdance_core.sampling.regions import check_regions

FRAMES, HEIGHT, WIDTH = 3, 32, 64


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


FIRST, SECOND = draw(1, 3, 32, 32), draw(2, 3, 16, 32, seed=1)
MAPS = draw(FRAMES, 3, HEIGHT, WIDTH, seed=2)
LEFT = torch.zeros(HEIGHT, WIDTH)
LEFT[:, : WIDTH // 2] = 1
MOVING = torch.stack([LEFT.roll(16 * k, dims=1) for k in range(FRAMES)])


@pytest.fixture
def sample(tiny):
    pipe = MagicDancePipeline(tiny)
    pipe.set_progress_bar_config(disable=True)

    def call(reference, maps=MAPS, **settings):
        settings = SamplingSettings(2, 2.0, **settings)
        noise = torch.Generator().manual_seed(3)
        return pipe(reference, maps, generator=noise, settings=settings, output_type="latent").frames

    call.pipe = pipe
    return call


@pytest.mark.parametrize("strength", [1.0, 0.3])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("references", [2, 8])
def test_weights_are_those_of_the_tokens_in_the_softmax(references, strength, masked):
    torch.manual_seed(0)
    heads, counts = 2, tuple(range(1, references + 1))
    query, key, value = torch.randn(3, 2, 5, 8)
    more_keys, more_values = torch.randn(2, 1, sum(counts), 8)
    weights = torch.rand(2, 5, references)
    weights[0, :, 0] = 0
    tokens = torch.rand(sum(counts)) if masked else None
    if masked:
        tokens[2] = 0
    made = attend(query, key, value, heads, more_keys, more_values, strength, weights, counts, tokens)
    columns = torch.cat([weights[..., [k]].expand(-1, -1, n) for k, n in enumerate(counts)], dim=-1)
    columns = columns * (1 if tokens is None else tokens)
    bias = torch.cat([torch.zeros(2, 5, 5), (strength * columns).log()], dim=-1)[:, None]
    split = [
        torch.cat([x, y.expand(2, -1, -1)], 1).unflatten(-1, (heads, -1)).transpose(1, 2)
        for x, y in ((key, more_keys), (value, more_values))
    ]
    expected = F.scaled_dot_product_attention(query.unflatten(-1, (heads, -1)).transpose(1, 2), *split, attn_mask=bias)
    assert torch.allclose(made, expected.transpose(1, 2).flatten(2), atol=1e-6)


def test_feature_maps_have_the_size_that_downscaling_says(tiny):
    seen, latents = {}, torch.randn(1, 4, 5, 9)
    blocks = dict(tiny.unet.named_modules())
    for name in downscaling(tiny.unet):
        blocks[name].register_forward_pre_hook(lambda module, args, name=name: seen.update({name: args[0].shape[1]}))
    tiny.unet(latents, 1, tiny.context)
    assert seen == {name: -(-5 // factor) * -(-9 // factor) for name, factor in downscaling(tiny.unet).items()}


def test_a_joined_source_has_the_tokens_of_each_and_can_be_selected(tiny):
    readers = [ReferenceReader(tiny.appearance, torch.randn(1, 4, 4, width)) for width in (4, 6)]
    parts = [project_bank(tiny.unet, reader.bank(1, tiny.context)) for reader in readers]
    joined = ReferenceSource.join(parts).weighted(torch.rand(1, 2, 4, 8), downscaling(tiny.unet))
    for name, tokens in joined.keys.items():
        assert torch.equal(tokens, torch.cat([part.keys[name] for part in parts], dim=1))
        chosen = joined.select(name, "")
        assert torch.equal(chosen.keys[""], tokens) and chosen.counts == {"": joined.counts[name]}
        assert torch.equal(chosen.weights[""], joined.weights[name])
    assert ReferenceSource.join(parts[:1]) is parts[0]


def test_one_reference_without_a_mask_is_the_reference_alone(sample):
    assert torch.equal(sample([Region(FIRST)]), sample(FIRST))


def test_a_reference_in_two_regions_acts_as_one(sample):
    soft = F.avg_pool2d(LEFT[None], 9, 1, 4)[0]
    assert torch.allclose(sample([Region(FIRST), Region(FIRST, soft)]), sample(FIRST), atol=1e-4)
    both = sample([Region(FIRST), Region(SECOND, soft)])
    assert (both - sample(FIRST)).abs().max() > 1e-2


def test_a_full_mask_leaves_nothing_to_the_others(sample):
    assert torch.allclose(sample([Region(FIRST), Region(SECOND, torch.ones(HEIGHT, WIDTH))]), sample(SECOND), atol=1e-4)


def test_only_what_a_reference_mask_covers_acts(sample):
    mask = torch.zeros(2, 16, 32)
    mask[:, :, :16] = 1
    other = SECOND.clone()
    changed = sample([Region(FIRST), Region(other, LEFT, mask)])
    assert (changed - sample([Region(FIRST), Region(other, LEFT)])).abs().max() > 1e-3
    whole = sample([Region(FIRST), Region(other, LEFT, torch.ones(16, 32))])
    assert torch.allclose(whole, sample([Region(FIRST), Region(other, LEFT)]), atol=1e-5)
    encoded = [Region(FIRST), Region(sample.pipe.encode_reference(other), LEFT, mask)]
    assert torch.allclose(sample(encoded), changed, atol=1e-5)


def test_strength_0_is_no_reference(sample):
    off = Control(0.0)
    regions = [Region(FIRST), Region(SECOND, LEFT)]
    assert torch.equal(sample(regions, appearance_control=off), sample(FIRST, appearance_control=off))


@pytest.mark.parametrize("mode", ["controlnet_important", "balance"])
def test_frames_follow_their_own_masks_in_any_batches(sample, mode):
    regions = [Region(FIRST, MOVING), Region(SECOND)]
    together = sample(regions, control_mode=mode, batched_guidance=True)
    apart = sample(regions, control_mode=mode, batched_guidance=False, frames_per_batch=2)
    assert torch.allclose(together, apart, atol=1e-4)
    for k in range(FRAMES):
        alone = sample([Region(FIRST, MOVING[k]), Region(SECOND)], MAPS[[k]], control_mode=mode)
        assert torch.allclose(apart[[k]], alone, atol=1e-4)


def test_a_stream_and_encoded_references_give_the_same(sample):
    pipe, settings = sample.pipe, SamplingSettings(2, 2.0, frames_per_batch=2)
    regions = [Region(pipe.encode_reference(FIRST), MOVING), Region(pipe.encode_reference(SECOND))]
    chunks = pipe.stream(regions, MAPS.split(1), FRAMES, generator=torch.Generator().manual_seed(3), settings=settings)
    frames = torch.cat([chunk.pictures for chunk in chunks])
    scale = pipe.vae.config.scaling_factor
    latents = sample([Region(FIRST, MOVING), Region(SECOND)], frames_per_batch=2) / scale
    expected = (pipe.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(frames, expected, atol=1e-4)


def test_weights_add_up_to_one_wherever_masks_are():
    masks = [draw(FRAMES, HEIGHT, WIDTH, seed=k) for k in range(3)]
    for masked in (masks[:1], masks[:2], masks):
        for rest in (True, False):
            regions = [Region(FIRST, mask) for mask in masked] + [Region(SECOND)] * rest
            weights = check_regions(regions, FRAMES, (HEIGHT, WIDTH), 4).weights
            assert weights.shape == (FRAMES, len(regions), HEIGHT // 4, WIDTH // 4)
            assert torch.allclose(weights.sum(1), torch.ones(FRAMES, HEIGHT // 4, WIDTH // 4)) and weights.min() >= 0


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        ([Region(FIRST), Region(SECOND)], "2 regions have no mask"),
        ([Region(FIRST), Region(SECOND, LEFT[:8])], r"region 2 has the shape \[1, 8, 64\]: give \[32, 64\]"),
        ([Region(FIRST), Region(SECOND, MOVING[:2])], "region 2 has 2 pictures for 3 frames"),
        ([Region(FIRST), Region(SECOND, LEFT * 0)], "region 2 covers nothing"),
        ([Region(FIRST), Region(SECOND, LEFT * 2)], "values from 0 to 2"),
        ([Region(FIRST), Region(SECOND, LEFT * float("nan"))], "NaN"),
        ([Region(FIRST), Region(FIRST[0, :, :3], LEFT)], "The reference of region 2"),
        ([Region(FIRST), Region(SECOND, "left")], "mask of region 2"),
        ([Region(FIRST), FIRST], "A region"),
        ([Region(FIRST, None, LEFT)] * 2, "2 regions have no mask"),
        ([Region(FIRST), Region(SECOND, LEFT, LEFT)], r"reference mask of region 2 has the shape \[1, 32, 64\]"),
    ],
)
def test_regions_that_cannot_be_used_are_refused(sample, regions, message):
    with pytest.raises(InputError, match=message):
        sample(regions)


def test_regions_without_an_appearance_network_are_ignored(sample, tiny):
    pipe = MagicDancePipeline(replace(tiny, appearance=None))
    made = [
        pipe(reference, MAPS, 1, latents=draw(1, 4, HEIGHT // 4, WIDTH // 4), output_type="latent").frames
        for reference in (FIRST, [Region(FIRST), Region(SECOND, LEFT)])
    ]
    assert torch.equal(*made)
