"""The face pass: where it starts, what it leaves alone, streams that resume, and input that it refuses."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from magicdance_core import MagicDancePipeline
from magicdance_core.checkpoints import save_lora
from magicdance_core.errors import InputError
from magicdance_core.media.square_crops import cut_square
from magicdance_core.models import MotionModule
from magicdance_core.pose import PoseFrame
from magicdance_core.pose.face_crops import MAX_GAP, face_crop
from magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_clip, puppet_keypoints
from magicdance_core.puppets.body_pose import BodyPose
from magicdance_core.sampling import SamplingSettings, Windows, prepare, stream
from magicdance_core.sampling.face_pass import _trailing, face_settings, find_faces, refine_faces
from magicdance_core.sampling.noise import get_noise, noise_from_latents
from magicdance_core.sampling.steps import FrameScheduler
from magicdance_core.schedule import named_scheduler

SIDE, FRAMES = 64, 6  # of the frames; the tiny model's pictures have 32 pixels
IDENTITY = Identity.from_seed(3, "test")
STANDING = BodyPose()


def gone(frames, numbers):
    return [replace(frame, people=()) if n in numbers else frame for n, frame in enumerate(frames)]


@pytest.fixture(scope="module")
def clip():
    return puppet_clip(IDENTITY, Choreography.from_seed(3, "test"), range(FRAMES), SIDE)


@pytest.fixture(scope="module")
def video():
    return torch.rand(FRAMES, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def reference():
    return draw_puppet(IDENTITY, STANDING, 128), puppet_keypoints(IDENTITY, STANDING, 128)


@pytest.fixture
def moving(tiny):
    torch.manual_seed(1)
    tiny.motion = MotionModule.for_unet(tiny.unet)
    return tiny


def refined(model, video, people, done=0, state=None, keep=None, **options):
    """Return the frames of one person's pass, and the states after each part."""
    settings = face_settings(SamplingSettings(**options).resolve(model.defaults))
    (faces,) = people
    parts = refine_faces(
        model, settings, video, faces, generator=torch.Generator().manual_seed(5), done=done, state=state
    )
    numbers, pictures, states = [], [], []
    for part in parts:
        numbers += part.frames
        pictures.append(part.pictures)
        states.append((part.frames[-1] + 1, {name: tensor.clone() for name, tensor in part.state().items()}))
    assert numbers == list(range(done, FRAMES))
    return torch.cat(pictures), states


def test_faces_change_and_nothing_else_does(tiny, clip, video, reference):
    people = find_faces(gone(clip, {2}), SIDE, SIDE, *reference, 32)
    after, _ = refined(tiny, video, people)
    changed = (after != video).any(dim=1)
    for number, (crop, frame) in enumerate(zip(people[0][0].crops, sorted(set(range(FRAMES)) - {2}))):
        rows, columns = torch.where(changed[frame])
        assert len(rows) > 200, number
        assert rows.min() >= crop.top - 1 and rows.max() <= crop.top + crop.side
        assert columns.min() >= crop.left - 1 and columns.max() <= crop.left + crop.side
    assert not changed[2].any()
    assert torch.equal(after, refined(tiny, video, people)[0])


def test_reference_crop_comes_from_the_full_resolution(clip, reference):
    (faces,) = find_faces(clip, SIDE, SIDE, *reference, 32)
    picture, person = reference
    crop = face_crop(person.people[0])
    assert faces[0].reference.tobytes() == cut_square(picture, crop.left, crop.top, crop.side, 32).tobytes()
    (same,) = find_faces(clip, SIDE, SIDE, picture, person.scaled(640, 320), 32)  # keypoints on a canvas of any size
    assert same[0].reference.tobytes() == faces[0].reference.tobytes()


@pytest.mark.parametrize("gap", [(), (2,), (0, 1), (5,)])
def test_an_interrupted_pass_resumes_to_the_same_pixels(moving, clip, video, reference, gap):
    people, windows = find_faces(gone(clip, gap), SIDE, SIDE, *reference, 32), Windows(3, 1)
    whole, states = refined(moving, video, people, windows=windows)
    assert len(states) > 1
    for done, state in states[:-1]:
        assert torch.equal(refined(moving, video, people, done, state, windows=windows)[0], whole[done:])


def test_frames_without_a_face_are_streamed_not_kept(tiny, reference):
    """A face at both ends of a video of many frames: those in between are yielded while they are read."""
    count = 2 * MAX_GAP + 8
    clip = puppet_clip(IDENTITY, Choreography.from_seed(3, "test"), range(count), SIDE)
    people = find_faces(gone(clip, range(2, count - 2)), SIDE, SIDE, *reference, 32)
    assert [face.frames for face in people[0]] == [(0, 1), (count - 2, count - 1)]
    read, ahead = [], []

    def frames():
        for number in range(count):
            read.append(number)
            yield torch.zeros(3, SIDE, SIDE)

    settings = face_settings(SamplingSettings().resolve(tiny.defaults))
    for part in refine_faces(tiny, settings, frames(), people[0]):
        ahead.append(len(read) - part.frames[0])
    assert max(ahead) <= 2


@pytest.mark.parametrize("name", ["default", "dpmpp_2m", "euler", "euler_ancestral", "unipc"])
def test_source_is_noised_to_the_first_step_that_is_taken(tiny, name):
    scheduler = named_scheduler(name, tiny.scheduler)
    noise, clean = get_noise((1, 4, 8, 8), torch.Generator().manual_seed(0)), torch.ones(1, 4, 8, 8)
    kind = noise_from_latents(noise)
    steps = FrameScheduler(scheduler, 10, kind, 0.0, torch.device("cpu"), 0.3)
    whole = FrameScheduler(scheduler, 10, kind, 0.0, torch.device("cpu"))
    assert (steps.number, steps.skipped) == (3, 7)
    assert steps.timesteps.tolist() == whole.timesteps[7:].tolist()
    latent = steps.noised(clean, noise)
    for step in range(3):  # a network that knows the noise returns to the clean latent
        inputs = steps.inputs(step, (0,), latent)
        alpha = scheduler.alphas_cumprod[steps.timesteps[step].round().long()]
        prediction = (inputs - alpha.sqrt() * clean) / (1 - alpha).sqrt()
        latent = steps.advance(step, (0,), prediction, latent)
    assert (latent - clean).abs().mean() < 0.15 < (steps.noised(clean, noise) - clean).abs().mean()


def test_strength_is_the_part_of_the_steps_that_is_taken(tiny, video):
    def sampled(strength, pictures):
        settings, inputs = prepare(
            tiny, SamplingSettings(strength=strength, num_inference_steps=8), torch.rand(1, 3, 32, 32),
            torch.zeros(1, 3, 32, 32), 2, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        seen, maps = [], torch.zeros(2, 3, 32, 32).split(1)
        parts = stream(tiny, settings, inputs, maps, pictures=pictures.split(1), callback=seen.append)
        made = torch.cat([part.pictures for part in parts])
        assert {progress.steps for progress in seen} == {round(8 * strength)} and seen[-1].fraction == 1
        return made

    pictures = video[:2, :, :32, :32]
    changes = [(sampled(s, pictures) - sampled(s, 1 - pictures)).abs().mean() for s in (0.25, 1.0)]
    assert changes[0] > 3 * changes[1]  # of what it starts from, little is left at full strength


def test_every_person_is_refined(tiny, reference, video):
    def pair(people):
        return PoseFrame(tuple(replace(p, identity=n) for n, p in enumerate(people)), 2 * SIDE, SIDE)

    clips = [
        puppet_clip(Identity.from_seed(n, "test"), Choreography.from_seed(n, "test"), range(2), SIDE) for n in (3, 4)
    ]
    right = [
        replace(f.people[0], face=f.people[0].face + (SIDE, 0, 0), body=f.people[0].body + (SIDE, 0, 0))
        for f in clips[1]
    ]
    keypoints = [pair((left.people[0], other)) for left, other in zip(clips[0], right)]
    wide = torch.cat([video[:2], video[2:4]], dim=-1)
    pipe = MagicDancePipeline(tiny)
    picture = Image.new("RGB", (256, 128), (90, 120, 200))
    after = pipe.refine_faces(
        wide, keypoints, picture, keypoints[0], generator=torch.Generator().manual_seed(0), output_type="pt"
    ).frames
    changed = (after != wide).any(dim=1)
    assert changed[:, :, :SIDE].any() and changed[:, :, SIDE:].any()


def test_loras_change_the_pass_and_nothing_else(tiny, clip, video, reference, tmp_path):
    name = "mid_block.resnets.0.conv1.weight"
    out, into, *kernel = tiny.unet.state_dict()[name].shape
    draws = torch.Generator().manual_seed(0)
    up, down = torch.randn(out, 2, 1, 1, generator=draws), torch.randn(2, into, *kernel, generator=draws)
    save_lora(tmp_path / "faces.safetensors", "unet", {name: (up, down)})
    pipe, before = MagicDancePipeline(tiny), {k: v.clone() for k, v in tiny.unet.state_dict().items()}
    plain = pipe.refine_faces(video, clip, *reference, generator=torch.Generator().manual_seed(1), output_type="pt")
    pipe.load_face_lora(tmp_path / "faces.safetensors")
    changed = pipe.refine_faces(video, clip, *reference, generator=torch.Generator().manual_seed(1), output_type="pt")
    assert (changed.frames - plain.frames).abs().max() > 1e-3
    assert all(torch.equal(weight, before[k]) for k, weight in tiny.unet.state_dict().items())
    model, placement = pipe.face_model()
    assert model.unet is not tiny.unet and model.pose is tiny.pose and placement is None
    wanted = before[name] + torch.einsum("or,rihw->oihw", up[..., 0, 0], down)
    assert torch.allclose(model.unet.state_dict()[name], wanted, atol=1e-5)
    pipe.enable_model_cpu_offload("cpu")
    offloaded = pipe.refine_faces(video, clip, *reference, generator=torch.Generator().manual_seed(1), output_type="pt")
    assert torch.allclose(offloaded.frames, changed.frames, atol=1e-5)
    with pytest.raises(InputError, match="strength"):
        pipe.load_face_lora(tmp_path / "faces.safetensors", float("nan"))
    save_lora(tmp_path / "other.safetensors", "unet", {name: (up[:2], down)})
    with pytest.raises(InputError, match="whose .* has another shape"):
        pipe.load_face_lora(tmp_path / "other.safetensors")


def test_the_embedded_model_has_weights_for_close_ups():
    pipe = MagicDancePipeline.from_embedded()
    model, _ = pipe.face_model()
    for role in ("unet", "appearance", "pose"):
        given, changed = (getattr(one, role).state_dict() for one in (pipe.components, model))
        moved = [name for name in given if not torch.equal(given[name], changed[name])]
        assert len(moved) > 50 and all(name.endswith(".weight") for name in moved)


def test_settings_of_the_pass(tiny):
    settings = SamplingSettings(num_inference_steps=50).resolve(tiny.defaults)
    assert (face_settings(settings).steps, face_settings(settings).strength) == (16, 0.5)
    for strength in (0.05, 0.3, 0.5, 0.75, 1.0):  # it starts at about the strength's noise
        for steps in (2, 6, 50):
            given = face_settings(replace(settings, num_inference_steps=steps), strength)
            scheduler = FrameScheduler(_trailing(tiny.scheduler), given.steps, None, 0.0, "cpu", given.strength)
            assert scheduler.number == max(1, round(steps * strength / 3))
            assert scheduler.timesteps[0].item() == pytest.approx(1000 * strength, abs=260 / scheduler.number)
    scales = {scale: face_settings(replace(settings, guidance_scale=scale)).scale for scale in (1.0, 1.5, 2.0, 7.0)}
    assert scales == {1.0: 1.0, 1.5: 1.0, 2.0: 2.0, 7.0: 7.0}
    for strength in (0, -1, 1.01, float("nan")):
        with pytest.raises(InputError, match="strength"):
            face_settings(settings, strength)


def test_bad_input_is_refused_before_anything_runs(tiny, clip, video, reference):
    pipe, nobody = MagicDancePipeline(tiny), PoseFrame((), 128, 128)
    with pytest.raises(InputError, match="reference shows no face of at least 8 pixels"):
        pipe.refine_faces(video, clip, reference[0], nobody)
    with pytest.raises(InputError, match="reference shows no face"):
        find_faces(clip, SIDE, SIDE, reference[0].resize((20, 20)), reference[1], 32)
    with pytest.raises(InputError, match="No frame shows a face of 8 to 16 pixels"):
        pipe.refine_faces(video, gone(clip, range(FRAMES)), *reference)
    with pytest.raises(InputError, match="No frame shows a face"):  # they fill the model's pictures already
        find_faces(clip, 400, 400, *reference, 32)
    with pytest.raises(InputError, match="keypoints of 5 frames for 6"):
        pipe.refine_faces(video, clip[:-1], *reference)
    with pytest.raises(InputError, match="output type 'latent'"):
        pipe.refine_faces(video, clip, *reference, output_type="latent")
