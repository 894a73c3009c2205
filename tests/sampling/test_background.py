"""A background that stays outside of a mask."""

import numpy as np
import pytest
import torch
from PIL import Image

from magicdance_core import Background, MagicDancePipeline, named_scheduler
from magicdance_core.errors import InputError
from magicdance_core.sampling import Region, SamplingSettings
from magicdance_core.sampling.background import FrameBackground
from magicdance_core.sampling.regions import check_regions

FRAMES, HEIGHT, WIDTH = 3, 32, 64
STEPS = 3


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


REFERENCE, MAPS = draw(1, 3, 32, 32), draw(FRAMES, 3, HEIGHT, WIDTH, seed=2)
PLATE = [Image.fromarray((draw(HEIGHT, WIDTH, 3, seed=9 + k) * 255).to(torch.uint8).numpy()) for k in range(FRAMES)]
PLATE_64 = Image.fromarray((draw(64, 64, 3, seed=8) * 100 + 60).to(torch.uint8).numpy())
MASK = torch.zeros(FRAMES, HEIGHT, WIDTH)
MASK[:, 8:24, 16:40] = 1
MASK[1, 8:24, 40:48] = 0.5


@pytest.fixture
def sample(tiny):
    pipe = MagicDancePipeline(tiny)
    pipe.set_progress_bar_config(disable=True)

    def call(background, output_type="pil", maps=MAPS, **settings):
        settings = SamplingSettings(STEPS, 2.0, **settings)
        noise = torch.Generator().manual_seed(3)
        return pipe(REFERENCE, maps, None, None, None, None, noise, output_type, settings=settings,
                    background=background).frames  # fmt: skip

    call.pipe = pipe
    return call


def test_outside_of_the_mask_the_pictures_stay_to_the_bit(sample):
    made = [np.asarray(frame) for frame in sample(Background(PLATE, MASK))]
    outside, inside = (MASK == 0).numpy(), (MASK == 1).numpy()
    for k, frame in enumerate(made):
        assert np.array_equal(frame[outside[k]], np.asarray(PLATE[k])[outside[k]])
        assert (frame[inside[k]] != np.asarray(PLATE[k])[inside[k]]).any(axis=-1).mean() > 0.9
    half = MASK[1] == 0.5
    alone = sample(Background(PLATE, (MASK > 0).float()), "pt")[1]
    blended = sample(Background(PLATE, MASK), "pt")[1]
    plate = torch.from_numpy(np.array(PLATE[1])).permute(2, 0, 1) / 255
    assert torch.allclose(blended[:, half], (alone[:, half] + plate[:, half]) / 2, atol=1e-5)


def test_a_background_shares_the_region_around_people():
    mask = torch.zeros(1, 64, 64)
    mask[:, 16:48, 24:40] = 1
    wide = torch.zeros(64, 64)
    wide[8:56, 16:48] = 1
    outside = FrameBackground(Background([PLATE_64], mask), 1, (64, 64), 4).outside()
    assert (outside[0, 0, 5:11, 7:9] == 0).all() and (outside[0, 0, 4:12, 6] <= 5 / 9).all()  # a latent pixel inside
    assert (outside[0, 0][mask[0, ::4, ::4] == 0] == 1).all()
    people = [Region(REFERENCE), Region(REFERENCE, wide)]
    weights = check_regions(people, 1, (64, 64), 4, outside).weights[0]
    assert (weights[1, 5:11, 7:9] == 1).all()  # the person
    assert (weights[:, 3, 6] == 0.5).all()  # around, both
    assert (weights[0, 0] == 1).all()  # elsewhere


def test_latents_outside_are_those_of_the_pictures(sample):
    pipe = sample.pipe
    latents = sample(Background(PLATE, MASK), "latent")
    expected = pipe.encode_reference(PLATE).latents
    outside = torch.nn.functional.max_pool2d(MASK[:, None], pipe.factor)[:, 0] == 0
    assert outside.any()
    for k in range(FRAMES):
        assert torch.allclose(latents[k][:, outside[k]], expected[k][:, outside[k]], atol=1e-5)


def test_a_full_mask_changes_nothing(sample):
    whole = Background(PLATE, torch.ones(HEIGHT, WIDTH))
    assert torch.equal(sample(whole, "latent"), sample(None, "latent"))
    assert torch.equal(sample(whole, "pt"), sample(None, "pt"))


@pytest.mark.parametrize("name", ["ddim", "euler", "dpmpp_2m"])
def test_each_step_gets_the_noise_that_it_expects(sample, name):
    """With a model that predicts the noise exactly, what is sampled inside equals the picture."""
    pipe = sample.pipe
    pipe.scheduler = named_scheduler(name, pipe.scheduler)
    clean = pipe.encode_reference(PLATE).latents
    seen = []

    def check(progress):
        seen.append(progress.denoised)

    noise = draw(1, 4, HEIGHT // pipe.factor, WIDTH // pipe.factor, seed=4)

    def predict(module, args, kwargs, output):
        return (noise.expand(len(args[0]), -1, -1, -1),)

    handle = pipe.unet.register_forward_hook(predict, with_kwargs=True)
    settings = SamplingSettings(STEPS, 1.0)
    nothing = torch.zeros(HEIGHT, WIDTH)
    nothing[0, 0] = 1
    made = pipe(REFERENCE, MAPS, latents=noise, settings=settings, background=Background(PLATE, nothing),
                output_type="latent", callback=check).frames  # fmt: skip
    handle.remove()
    assert torch.allclose(made[:, :, 1:], clean[:, :, 1:], atol=1e-5)
    later = torch.stack([part[0, :, 1:] for part in seen[1:]])
    assert torch.allclose(later, clean[:1, :, 1:].expand_as(later), atol=1e-3)


def test_a_stream_gives_the_same_and_reads_pictures_as_they_are_needed(sample):
    pipe, read = sample.pipe, []

    def plates():
        for number, picture in enumerate(PLATE):
            read.append(number)
            yield picture

    expected = sample(Background(PLATE, MASK), "pt", frames_per_batch=1)
    settings = SamplingSettings(STEPS, 2.0, frames_per_batch=1)
    chunks = pipe.stream(REFERENCE, MAPS.split(1), FRAMES, generator=torch.Generator().manual_seed(3),
                         settings=settings, background=Background(plates(), MASK))  # fmt: skip
    made = torch.cat([chunk.pictures for chunk in chunks])
    assert torch.allclose(made, expected, atol=1e-4) and read == [0, 1, 2]
    resumed = pipe.stream(REFERENCE, MAPS.split(1), FRAMES, generator=torch.Generator().manual_seed(3),
                          settings=settings, background=Background(PLATE, MASK), first=1)  # fmt: skip
    later = torch.cat([chunk.pictures for chunk in resumed])
    assert torch.equal(later, made[1:])


def test_what_a_resumed_run_has_blended_is_not_kept():
    background = FrameBackground(Background(PLATE, MASK), FRAMES, (HEIGHT, WIDTH), 4)
    background.skip(2)
    *passed, last = background.pictures()
    assert not any(picture.numel() for picture in passed) and list(background._waiting) == [2]
    assert torch.equal(background.blend((2,), torch.zeros_like(last))[0, :, 0], last[0, :, 0])


def test_masks_may_be_made_when_they_are_needed(sample):
    lazily = sample(Background(PLATE, lambda number: MASK[number]), "pt")
    assert torch.equal(lazily, sample(Background(PLATE, MASK), "pt"))


def test_one_picture_serves_all_frames_and_the_last_one_is_held(sample):
    made = [np.asarray(frame) for frame in sample(Background(PLATE[:1], MASK[0]))]
    outside = (MASK[0] == 0).numpy()
    assert all(np.array_equal(frame[outside], np.asarray(PLATE[0])[outside]) for frame in made)
    held = [np.asarray(frame) for frame in sample(Background(PLATE[:2], MASK[0]))]
    assert np.array_equal(held[2][outside], np.asarray(PLATE[1])[outside])


@pytest.mark.parametrize(
    ("background", "message"),
    [
        (Background(PLATE, MASK[:2]), "mask has 2 pictures for 3 frames"),
        (Background(PLATE, MASK[:, :8]), "mask has the shape"),
        (Background(PLATE, MASK * 0), "covers nothing"),
        (Background([], MASK), "has no picture"),
        (Background([PLATE[0].resize((32, 32))], MASK), "32 x 32 pixels and the frames have 64 x 32"),
        (Background(["plate.png"], MASK), "The background is a str"),
        ("plate.png", "background is"),
    ],
)
def test_backgrounds_that_cannot_be_used_are_refused(sample, background, message):
    with pytest.raises(InputError, match=message):
        sample(background)
