"""People with pose maps of their own are predicted one by one while the layout forms."""

import sys

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from magicdance_core import MagicDancePipeline
from magicdance_core.errors import InputError
from magicdance_core.models import ReferenceReader, downscaling, project_bank
from magicdance_core.sampling import EncodedReference, EncodedRegions, Region, SamplingSettings, with_poses
from magicdance_core.sampling.hints import PeopleApart
from magicdance_core.sampling.regions import APART

FRAMES, HEIGHT, WIDTH = 5, 32, 64


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


FIRST, SECOND = draw(1, 3, 32, 32), draw(1, 3, 16, 32, seed=1)
MAPS, ONE, OTHER = (draw(FRAMES, 3, HEIGHT, WIDTH, seed=seed) for seed in (2, 3, 4))
LEFT = torch.zeros(HEIGHT, WIDTH)
LEFT[:, : WIDTH // 2] = 1
MOVING = torch.stack([LEFT.roll(8 * k, dims=1) for k in range(FRAMES)])
PEOPLE = [Region(FIRST, poses=ONE), Region(SECOND, MOVING, poses=OTHER)]


@pytest.fixture
def sample(tiny):
    pipe = MagicDancePipeline(tiny)
    pipe.set_progress_bar_config(disable=True)

    def call(reference, maps=MAPS, steps=1, **settings):
        settings = SamplingSettings(steps, 2.0, **settings)
        noise = torch.Generator().manual_seed(3)
        return pipe(reference, maps, generator=noise, settings=settings, output_type="latent").frames

    call.pipe = pipe
    return call


def stream(pipe, state=None, maps=PEOPLE, **options):
    settings = SamplingSettings(3, 2.0, frames_per_batch=2)
    noise = torch.Generator().manual_seed(3)
    return pipe.stream(maps, MAPS.split(1), FRAMES, generator=noise, settings=settings, state=state, **options)


@pytest.mark.parametrize("mode", ["controlnet_important", "balance"])
@pytest.mark.parametrize("batched", [True, False])
def test_each_is_predicted_as_if_alone_in_its_region(sample, mode, batched):
    settings = {"control_mode": mode, "batched_guidance": batched}
    made = sample(PEOPLE, **settings)
    alone = [sample(FIRST, ONE, **settings), sample(SECOND, OTHER, **settings)]
    weight = F.interpolate(MOVING[:, None], (HEIGHT // 4, WIDTH // 4), mode="area")
    assert torch.allclose(made, torch.lerp(*alone, weight), atol=1e-4)


def test_masks_of_the_references_act_alone_too(tiny):
    """Each source alone attends with the token weights that it has among the others."""
    mask, latents = draw(1, 1, 4, 8, seed=5), [draw(1, 4, 8, 8), draw(1, 4, 4, 8, seed=1)]
    factors = downscaling(tiny.unet)
    sources = [
        project_bank(tiny.unet, ReferenceReader(tiny.appearance, part).bank(1, tiny.context)) for part in latents
    ]
    encoded = EncodedRegions(tuple(map(EncodedReference, latents)), torch.ones(1, 2, 8, 16), (None, mask))
    free, masked = encoded.alone(sources, factors)
    assert free is sources[0]
    among = encoded.token_weights(factors, latents[0])
    for name, factor in factors.items():
        count = sources[0].keys[name].shape[1]
        assert torch.equal(masked.token_weights[name], among[name][count:])
        assert torch.equal(masked.weights[name], torch.ones(1, -(-8 // factor) * -(-16 // factor), 1))
        assert masked.counts[name] == (masked.keys[name].shape[1],)


def test_later_steps_predict_all_together(sample, monkeypatch):
    apart = []
    original = PeopleApart.residuals
    monkeypatch.setattr(PeopleApart, "residuals", lambda self, *given: apart.append(given[0]) or original(self, *given))
    sample(PEOPLE, steps=6)
    assert len(apart) == 2 * round(6 * APART)
    together = [Region(FIRST), Region(SECOND, MOVING)]
    monkeypatch.setattr(sys.modules["magicdance_core.sampling.denoise"], "APART", 0.0)
    assert torch.equal(sample(PEOPLE, steps=6), sample(together, steps=6))


def test_who_is_not_in_a_batch_costs_nothing(sample, monkeypatch):
    seen = []
    original = PeopleApart.residuals
    monkeypatch.setattr(PeopleApart, "residuals", lambda self, *given: seen.append(given) or original(self, *given))
    mask = MOVING.clone()
    mask[:2] = 0
    sample([PEOPLE[0], Region(SECOND, mask, poses=OTHER)], frames_per_batch=2)
    assert [(person, frames) for person, _, frames, _ in seen] == [
        (0, (0, 1)), (0, (2, 3)), (1, (2, 3)), (0, (4,)), (1, (4,)),
    ]  # fmt: skip


def test_a_region_without_maps_keeps_all_together(sample):
    together = [Region(FIRST), Region(SECOND, MOVING)]
    assert torch.equal(sample([Region(FIRST), PEOPLE[1]]), sample(together))


def test_a_stream_gives_the_same_and_resumes_to_the_bit(sample):
    pipe = sample.pipe
    whole = list(stream(pipe))
    frames = torch.cat([chunk.pictures for chunk in whole])
    latents = sample(PEOPLE, steps=3, frames_per_batch=2) / pipe.vae.config.scaling_factor
    expected = (pipe.vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)
    assert torch.allclose(frames, expected, atol=1e-4)
    for number in range(len(whole) - 1):
        chunks = stream(pipe)
        for _ in range(number + 1):
            state = next(chunks).state()
        state = {name: value.clone() for name, value in state.items()}
        rest = torch.cat([chunk.pictures for chunk in stream(pipe, state)])
        assert torch.equal(rest, frames[-len(rest) :])


def test_nothing_is_kept_of_frames_after_that_part(sample, monkeypatch):
    """Neither on the device nor on the CPU, where what exceeds the limit waits."""
    kept, original = [], PeopleApart.drop

    def drop(self, frames):
        kept.append(self)
        original(self, frames)

    monkeypatch.setattr(PeopleApart, "drop", drop)
    made = sample(PEOPLE, steps=6, frames_per_batch=2)
    assert len(kept) == 3 and not kept[0]._residuals and kept[0]._resident_bytes == 0
    assert not any(hints._hints for hints in kept[0]._hints)
    monkeypatch.setattr("magicdance_core.sampling.hints.MAX_RESIDENT_BYTES", 1)
    assert torch.equal(sample(PEOPLE, steps=6, frames_per_batch=2), made)


def test_maps_are_read_when_they_are_needed(sample):
    read = []
    maps = [Region(FIRST, poses=lambda n: read.append(n) or ONE[n]), Region(SECOND, MOVING, poses=OTHER)]
    chunks = stream(sample.pipe, maps=maps)
    next(chunks)
    assert sorted(set(read)) == list(range(FRAMES)) and read[0] == 0  # one block
    pictures = [Image.fromarray((255 * m.permute(1, 2, 0)).byte().numpy()) for m in ONE]
    made = sample([Region(FIRST, poses=pictures), PEOPLE[1]])
    assert torch.allclose(made, sample(PEOPLE), atol=0.05)


def test_maps_of_everybody_are_cut_along_the_masks():
    cut = with_poses([Region(FIRST), Region(SECOND, MOVING)], MAPS.split(1).__getitem__)
    for number in range(FRAMES):
        assert torch.equal(cut[1].poses(number), MAPS[[number]] * MOVING[number])
        assert torch.equal(cut[0].poses(number), MAPS[[number]] * (1 - MOVING[number]))
    small = with_poses([Region(SECOND, LEFT[::4, ::4])], MAPS.split(1).__getitem__)
    assert torch.allclose(small[0].poses(1)[..., :24], MAPS[[1], :, :, :24]) and small[0].poses(1)[..., 40:].max() == 0


@pytest.mark.parametrize(
    ("poses", "message"),
    [
        (OTHER[:3], "Region 2 has 3 pose maps for 5 frames: give one for each"),
        (OTHER[..., :32], "pose map of region 2 is 32 x 32 pixels and the frames are 64 x 32"),
        (OTHER + 1, "The pose map of region 2 has values"),
        (["map"] * FRAMES, "The pose map of region 2 is a str"),
    ],
)
def test_maps_that_cannot_be_used_are_refused(sample, poses, message):
    with pytest.raises(InputError, match=message):
        sample([PEOPLE[0], Region(SECOND, MOVING, poses=poses)])
