"""A person is read once at each step, however many frames, batches and calls there are."""

import pytest
import torch
from calls import with_settings

from magicdance_core import MagicDancePipeline
from magicdance_core.sampling.reference import BankCache

STEPS = 3


@pytest.fixture
def pipe(tiny):
    return MagicDancePipeline(tiny)


@pytest.fixture
def reads(tiny):
    seen = []
    tiny.appearance.register_forward_pre_hook(lambda module, args: seen.append(float(args[1])))
    return seen


def draw(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


REFERENCE, POSES = draw(3, 16, 16), draw(5, 3, 16, 16, seed=1)


def make(pipe, reference, poses, **options):
    generator = torch.Generator().manual_seed(2)
    return pipe(reference, poses, STEPS, 2.0, generator=generator, output_type="pt", **with_settings(**options)).frames


def test_calls_that_share_a_person_read_it_once(pipe, reads):
    plain = torch.cat([make(pipe, REFERENCE, POSES[:3]), make(pipe, REFERENCE, POSES[3:])])
    assert len(reads) == 2 * STEPS
    reads.clear()
    person = pipe.encode_reference(REFERENCE)
    assert torch.equal(torch.cat([make(pipe, person, POSES[:3]), make(pipe, person, POSES[3:])]), plain)
    assert len(reads) == STEPS


def test_a_stream_reads_once_a_step_and_not_once_a_batch(pipe, reads):
    options = {"num_inference_steps": STEPS, "guidance_scale": 2.0, "frames_per_batch": 2}
    chunks = pipe.stream(
        REFERENCE, POSES, len(POSES), generator=torch.Generator().manual_seed(2), **with_settings(**options)
    )
    frames = {number: frame for chunk in chunks for number, frame in zip(chunk.frames, chunk.pictures)}
    assert len(reads) == len(set(reads)) == STEPS  # three batches went through all steps, one after the other
    assert torch.allclose(
        torch.stack([frames[n] for n in range(len(POSES))]), make(pipe, REFERENCE, POSES, frames_per_batch=2), atol=1e-5
    )


def test_another_text_empties_and_what_does_not_fit_is_read_again(pipe, reads):
    person, text = pipe.encode_reference(REFERENCE), torch.ones(1, 3, 12)
    first = make(pipe, person, POSES[:1])
    other = make(pipe, person, POSES[:1], prompt_embeds=text)
    assert len(reads) == 2 * STEPS and not torch.equal(first, other)
    assert torch.equal(make(pipe, REFERENCE, POSES[:1], prompt_embeds=text), other)
    reads.clear()
    bank = {"block": torch.zeros(1, 4, 2)}
    small, asked = BankCache(max_bytes=bank["block"].nbytes), []
    small.begin(text)
    for timestep in (1.0, 2.0, 1.0, 2.0):
        small.get(0, timestep, lambda timestep=timestep: (asked.append(timestep), bank)[1])
    assert asked == [1.0, 2.0, 2.0]
