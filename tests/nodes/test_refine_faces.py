"""Refine Faces, called as ComfyUI calls it."""

import importlib
from types import SimpleNamespace

import pytest
import torch

SIDE, FRAMES = 64, 4
SAMPLE = {
    "seed": 3, "steps": 3, "cfg": 2.0, "sampler_name": "default", "control_mode": "controlnet_important",
    "preset": "exact", "frames_per_batch": 2, "decode_chunk_size": 2,
}  # fmt: skip


@pytest.fixture
def given(core):
    """Frames, keypoints, a reference twice as large and its keypoints."""
    puppets, pose = core("puppets"), core("pose")
    person, dance = puppets.Identity.from_seed(3, "test"), puppets.Choreography.from_seed(3, "test")
    start = puppets.BodyPose()
    picture = puppets.draw_puppet(person, start, 2 * SIDE)
    return {
        "frames": torch.rand(FRAMES, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(0)),
        "keypoints": pose.frames_to_pose_keypoint(puppets.puppet_clip(person, dance, range(FRAMES), SIDE)),
        "reference": core("sampling").to_images(picture, "it", 1).movedim(1, -1),
        "reference_keypoints": pose.frames_to_pose_keypoint([puppets.puppet_keypoints(person, start, 2 * SIDE)]),
    }


@pytest.fixture
def refine(node, held, given):
    return lambda **changes: node("RefineFaces").refine(**{"model": held, "strength": 0.5} | given | SAMPLE | changes)[
        0
    ]


def test_node_and_pipeline_give_equal_pixels(refine, given, core, tiny):
    pose, sampling = core("pose"), core("sampling")
    frames, person = (pose.frames_from_pose_keypoint(given[n]) for n in ("keypoints", "reference_keypoints"))
    (picture,) = sampling.to_pil(given["reference"].movedim(-1, 1))
    settings = sampling.SamplingSettings(
        num_inference_steps=3, guidance_scale=2.0, frames_per_batch=2, decode_chunk_size=2
    )
    wanted = core("pipeline").MagicDancePipeline(tiny).refine_faces(
        given["frames"].movedim(-1, 1), frames, picture, person[0], 0.5, torch.Generator().manual_seed(3), "pt",
        settings=settings,
    )  # fmt: skip
    made, kept = refine(), given["frames"].clone()
    assert torch.equal(made, wanted.frames.movedim(1, -1))
    assert made.dtype == torch.float32 and torch.equal(given["frames"], kept)
    changed = (made != kept).any(dim=-1)
    assert 0.02 < changed.float().mean() < 0.5 and changed.flatten(1).any(dim=1).all()


def test_frames_may_have_alpha_and_other_dtypes(refine, given):
    made = refine()
    alpha = torch.cat([given["frames"], torch.zeros(FRAMES, SIDE, SIDE, 1)], dim=-1)
    assert torch.equal(refine(frames=alpha), made)
    assert refine(frames=given["frames"].half()).dtype == torch.float32


def test_progress_counts_frames_and_an_interrupt_stops_it(refine, comfy):
    refine()
    ((*_, last),) = comfy.bars
    assert last[:2] == (FRAMES, FRAMES)
    comfy.interrupt_after = comfy.checks + 5
    with pytest.raises(Exception) as caught:
        refine()
    assert type(caught.value).__name__ == "Interrupt"


def test_other_strengths_seeds_and_prompts_change_the_faces(refine):
    made = refine()
    text = [[torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(1)), {}]]
    for change in (
        {"strength": 1.0},
        {"strength": 0.3},
        {"seed": 4},
        {"positive": text},
        {"cfg": 1.0},
        {"sampler_name": "euler"},
    ):
        assert not torch.equal(refine(**change), made), change


def test_loras_of_the_face_pass_are_patches_of_this_run_only(held, core, tmp_path):
    """ComfyUI adds them when the pass loads its networks, and takes them off for whoever loads the others."""
    from dataclasses import replace

    memory = importlib.import_module(type(held).__module__.replace("link_types", "comfy.memory"))
    layers = {
        "unet": "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
        "pose": "conv_in.weight",
    }
    files, generator = [], torch.Generator().manual_seed(0)
    for role, name in layers.items():
        shape = memory.network(getattr(held, role)).state_dict()[name].shape
        kernel = shape[2:]
        up, down = (
            torch.randn(size, generator=generator)
            for size in ((shape[0], 2, *(1 for _ in kernel)), (2, shape[1], *kernel))
        )
        files.append(tmp_path / f"{role}.safetensors")
        core("checkpoints").save_lora(files[-1], role, {name: (up, down)})
    changed = memory.with_face_loras(replace(held, face_loras=tuple(files)))
    assert changed.appearance is held.appearance and changed.vae is held.vae
    for role, name in layers.items():
        patched = getattr(changed, role)
        assert patched.patches.keys() == {f"inner.{name}"} and not getattr(held, role).patches
        assert memory.network(patched) is memory.network(getattr(held, role))
    assert memory.with_face_loras(held) is held
    without_clip = replace(held, context=None)
    assert memory.with_face_loras(without_clip) is without_clip  # its prompt is an input of the node


def test_weights_are_digested_without_loras_that_another_run_left_in_them(held):
    """ComfyUI takes them off at the next load, and keeps the weights in `backup` until then."""
    fingerprints = importlib.import_module(type(held).__module__.replace("link_types", "comfy.fingerprints"))
    before, name = fingerprints.of_model(held), "inner.conv_in.weight"
    weight = held.unet.model.state_dict()[name]
    held.unet.backup = {name: SimpleNamespace(weight=weight.clone())}
    weight.add_(1)
    assert fingerprints.of_model(held) == before
    held.unet.backup = {}
    assert fingerprints.of_model(held) != before
    weight.sub_(1)


def test_bad_input_is_named(refine, given, core):
    pose = core("pose")
    nobody = pose.frames_to_pose_keypoint([pose.PoseFrame((), SIDE, SIDE)] * FRAMES)
    for change, message in (
        ({"keypoints": given["keypoints"][:-1]}, "`frames` has 4 pictures, `keypoints` has 3 frames"),
        ({"keypoints": nobody}, "No frame shows a face of 8 to 16 pixels"),
        ({"reference_keypoints": nobody}, "reference shows nobody"),
        ({"frames": torch.rand(FRAMES, 16, 16, 3)}, "No frame shows a face"),
        ({"strength": 0.0}, "`strength` is 0.0: give 0.05 to 1"),
        ({"frames": "frames"}, "`frames` is not an IMAGE"),
    ):
        with pytest.raises(ValueError, match=message):
            refine(**change)
