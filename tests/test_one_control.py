"""Either control works alone: a reference without poses, poses (and a prompt) without a reference."""

import dataclasses
import json

import pytest
import torch
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from magicdance_core import InputError, MagicDancePipeline, media
from magicdance_core.__main__ import main
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.sampling import Control, SamplingSettings


@pytest.fixture(scope="module")
def pipe(make_tiny):
    return MagicDancePipeline(make_tiny())


def pictures(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def latents(pipe, *inputs, **options):
    noise = torch.Generator().manual_seed(0)
    return pipe(*inputs, generator=noise, output_type="latent", num_inference_steps=2, **options).frames


def without(pipe, role):
    return MagicDancePipeline(dataclasses.replace(pipe.components, **{role: None}))


def test_a_missing_input_is_a_control_of_no_strength(pipe):
    reference, poses = pictures(0, 1, 3, 32, 48), pictures(1, 2, 3, 32, 48)
    off = Control(0.0)
    only_pose = latents(pipe, None, poses)
    assert torch.equal(only_pose, latents(pipe, reference, poses, settings=SamplingSettings(appearance_control=off)))
    assert torch.equal(only_pose, latents(without(pipe, "appearance"), reference, poses))
    assert torch.equal(only_pose, latents(without(pipe, "appearance"), None, poses))
    only_reference = latents(pipe, reference, None, frames=2)
    assert only_reference.shape == (2, 4, 8, 12)
    assert torch.equal(only_reference, latents(pipe, reference, poses, settings=SamplingSettings(pose_control=off)))
    assert torch.equal(only_reference, latents(without(pipe, "pose"), reference, poses))
    both = latents(pipe, reference, poses)
    assert not torch.allclose(both, only_pose) and not torch.allclose(both, only_reference)


def test_streams_and_encoded_references_take_the_same_road(pipe):
    reference, settings = pictures(0, 1, 3, 32, 48), SamplingSettings(num_inference_steps=2)
    maps = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]
    for given, poses in ((None, maps), (reference, None), (pipe.encode_reference(reference), None)):
        noises = [torch.Generator().manual_seed(0) for _ in range(2)]
        made = pipe(given, poses, frames=2, generator=noises[0], settings=settings, output_type="pt").frames
        chunks = pipe.stream(given, poses, 2, generator=noises[1], settings=settings)
        assert torch.allclose(torch.cat([chunk.pictures for chunk in chunks]), made, atol=1e-5)


def test_neither_is_refused(pipe):
    with pytest.raises(InputError, match="neither a reference nor a pose: give one of them"):
        pipe(None, None)
    with pytest.raises(InputError, match="frames is 3 and there are 2 poses"):
        pipe(None, pictures(1, 2, 3, 32, 32), frames=3)


def test_a_prompt_is_contrasted_with_the_empty_one_without_a_reference(pipe):
    poses, prompt = pictures(1, 1, 3, 32, 32), pictures(2, 1, 3, 12)
    empty = pipe.components.context
    with_default = latents(pipe, None, poses, prompt_embeds=prompt)
    assert torch.equal(with_default, latents(pipe, None, poses, prompt_embeds=prompt, negative_prompt_embeds=empty))
    reference = pictures(0, 1, 3, 32, 32)
    published = latents(pipe, reference, poses, prompt_embeds=prompt)
    assert torch.equal(published, latents(pipe, reference, poses, prompt_embeds=prompt, negative_prompt_embeds=prompt))


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    """Models with and without a tokenizer and with one control, references and pose maps."""
    folder, tiny = tmp_path_factory.mktemp("alone"), make_tiny()
    MagicDancePipeline(tiny).save_pretrained(folder / "plain")
    MagicDancePipeline(dataclasses.replace(tiny, pose=None)).save_pretrained(folder / "no-pose")
    config = CLIPTextConfig(
        hidden_size=12, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, projection_dim=12
    )
    torch.manual_seed(0)
    tiny.text_encoder = CLIPTextModel(config)
    MagicDancePipeline(tiny).save_pretrained(folder / "texts")
    words = {"<|startoftext|>": 49406, "<|endoftext|>": 49407, "a</w>": 1, "b</w>": 2, "a": 3, "b": 4}
    (folder / "texts" / "tokenizer").mkdir()
    (folder / "texts" / "tokenizer" / "vocab.json").write_text(json.dumps(words))
    (folder / "texts" / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    scene = make_scene(0, range(2), 32)
    media.write_picture(folder / "person.png", scene.reference)
    media.write_picture(folder / "back.png", scene.truth[1].resize((48, 32)))
    for number, pose in enumerate(scene.poses):
        media.write_picture(folder / "poses" / f"{number}.png", pose)
    return folder


@pytest.fixture
def animate(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)

    def run(*options, model="plain", out="a"):
        given = ["animate", "--model", model, "--out", str(tmp_path / out), "--size", "32"]
        code = main([*given, "--device", "cpu", "--steps", "1", *options])
        return code, {f.name: f.read_bytes() for f in sorted((tmp_path / out).glob("*.png"))}

    return run


def test_animate_without_poses_or_reference(animate, capsys):
    code, frames = animate("--reference", "person.png", "--limit", "3")
    assert code == 0 and len(frames) == 3
    code, frames = animate("--reference", "person.png", model="no-pose", out="b")
    assert code == 0 and len(frames) == 1
    code, frames = animate("--poses", "poses", out="c")
    assert code == 0 and len(frames) == 2
    assert animate(out="d")[0] == 2
    assert "--reference, --poses or --video is required" in capsys.readouterr().err
    assert animate("--poses", "poses", "--reference", "person.png", model="no-pose", out="e")[0] == 2
    assert "no-pose has no Pose ControlNet: leave out --poses" in capsys.readouterr().err


def test_references_add_up_and_controls_have_strength_and_range(animate):
    both = ("--reference", "person.png", "--poses", "poses")
    _, one = animate(*both)
    _, two = animate(*both, "--reference", "back.png", out="b")
    _, poses_only = animate("--poses", "poses", out="c")
    _, no_reference = animate(*both, "--reference-strength", "0", out="d")
    _, none_at_first = animate(*both, "--reference-range", "0.5", "1", out="e")
    _, no_pose = animate(*both, "--pose-strength", "0", out="f")
    _, reference_only = animate("--reference", "person.png", "--limit", "2", out="g")
    assert one != two and one != poses_only
    assert poses_only == no_reference == none_at_first and no_pose == reference_only


def test_prompts_need_a_text_encoder_and_a_tokenizer(animate, capsys):
    code, empty = animate("--poses", "poses", model="texts")
    code_with, prompted = animate("--poses", "poses", "--prompt", "a b", model="texts", out="b")
    assert code == code_with == 0 and empty != prompted
    _, negative = animate("--poses", "poses", "--negative-prompt", "b", model="texts", out="c")
    assert negative not in (empty, prompted)
    assert animate("--poses", "poses", "--prompt", "a", out="d")[0] == 2
    assert "plain cannot read prompts: give a model folder with a text encoder" in capsys.readouterr().err
