"""Captions: encoded like the empty prompt, used for the rows of each person, dropped by sample number."""

import dataclasses
import json
import shutil

import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel

from magicdance_core.__main__ import main
from magicdance_core.checkpoints import load, save_folder
from magicdance_core.checkpoints.text_encoder import encode_empty_prompt, prompt_encoder
from magicdance_core.data.captions import Captions
from magicdance_core.data.data_config import DataConfig
from magicdance_core.data.frame_sets import Video
from magicdance_core.errors import InputError
from magicdance_core.models import Networks
from magicdance_core.schedule import published_scheduler
from magicdance_core.training.config import StageConfig, StartConfig, TrainingConfig
from magicdance_core.training.engine import train
from magicdance_core.training.losses import diffusion_loss
from magicdance_core.training.objectives import DiffusionObjective, LatentSpace

WORDS = ["a</w>", "woman</w>", "dances</w>", "man</w>"]


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=49408,
            hidden_size=12,
            intermediate_size=24,
            num_attention_heads=2,
            num_hidden_layers=1,
            projection_dim=12,
        )  # fmt: skip
    ).eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer like Stable Diffusion's with a few words."""
    folder = tmp_path_factory.mktemp("tokenizer")
    letters = [letter + end for letter in "acdehmnosw" for end in ("", "</w>")]
    merges, known = [], [*letters]
    for word in WORDS[1:]:
        letters, made = list(word.removesuffix("</w>")), ""
        letters[-1] += "</w>"
        for letter in letters:
            if made:
                merges.append(f"{made} {letter}")
                known.append(made + letter)
            made += letter
    vocabulary = {text: number for number, text in enumerate(dict.fromkeys(known))}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(dict.fromkeys(merges)) + "\n")
    return folder


def test_captions_are_encoded_like_the_empty_prompt(tower, tokenizer, tmp_path):
    encode = prompt_encoder(tower, tokenizer)
    assert torch.equal(encode(""), encode_empty_prompt(tower))
    one, two = encode("a woman dances"), encode("a man dances")
    assert one.shape == (1, 77, 12) and torch.equal(one[:, :2], two[:, :2]) and not torch.allclose(one, two)
    ids = json.loads((tokenizer / "vocab.json").read_text())
    tokens = torch.tensor([[49406, *(ids[w] for w in ("a</w>", "woman</w>", "dances</w>")), *[49407] * 73]])
    with torch.no_grad():
        assert torch.equal(one, tower(tokens).last_hidden_state)
    assert encode("dances " * 200).shape == (1, 77, 12)
    with pytest.raises(InputError, match="is not a tokenizer .*give the folder tokenizer"):
        prompt_encoder(tower, tmp_path)


class Films:
    fingerprint = "films"

    def __init__(self, *captions):
        self.videos = [Video(f"v{n}", 4, 16, 16, "train", (), text) for n, text in enumerate(captions)]


def test_captions_are_encoded_once_and_cached(tmp_path):
    empty, asked = torch.zeros(1, 77, 3), []

    def encode(text):
        asked.append(text)
        return torch.full((1, 77, 3), float(len(text)))

    captions = Captions(Films("b", "", "ccc", "b"), "tower", empty, tmp_path)
    for _ in range(2):
        captions.fill(encode)
    assert asked == ["b", "ccc"]
    assert [float(captions.read(video).mean()) for video in range(4)] == [1, 0, 3, 1]
    assert Captions(Films("b"), "other", empty, tmp_path).cache.folder != captions.cache.folder
    with pytest.raises(InputError, match="no video has a caption: write NAME.txt"):
        Captions(Films("", ""), "tower", empty, tmp_path)
    (captions.cache.folder / "embeddings.npy").write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged .*remove it"):
        Captions(Films("b", "", "ccc", "b"), "tower", empty, tmp_path).read(0)


def test_captions_are_dropped_by_sample_number_and_nothing_else_changes(smoke, tmp_path):
    from magicdance_core.data.puppet_frames import PuppetFrames

    frames = PuppetFrames(smoke.data, tmp_path)
    frames.videos = [dataclasses.replace(video, caption=f"person {n % 2}") for n, video in enumerate(frames.videos)]
    empty, pose = torch.zeros(1, 77, 8), smoke.stages[3]
    captions = Captions(frames, "tower", empty, tmp_path)
    captions.fill(lambda text: torch.full((1, 77, 8), 1.0 + float(text[-1])))

    def samples(share, captions=captions):
        stage, space = dataclasses.replace(pose, drop_text=share), LatentSpace(2, 4, 1.0)
        made = DiffusionObjective(frames, None, smoke.data, stage, 0, empty, "epsilon", space, captions)
        return [made.sample(index) for index in range(24)]

    whole, half, silent = samples(0.0), samples(0.5), samples(0.0, None)
    told = [float(sample["context"].mean()) for sample in whole]
    assert told == [1.0 + int(sample["video"]) % 2 for sample in whole]
    dropped = [not sample["context"].any() for sample in half]
    assert 6 <= sum(dropped) <= 18
    assert all(drop or torch.equal(one["context"], two["context"]) for drop, one, two in zip(dropped, half, whole))
    for one, two in zip(whole, silent):
        assert all(torch.equal(one[name], two[name]) for name in two) and "context" not in two


@pytest.mark.parametrize("keep", [None, torch.tensor([False, True])])
def test_each_person_gets_their_caption(tiny, keep):
    networks, random = Networks(tiny.unet, tiny.appearance, tiny.pose), torch.Generator().manual_seed(0)
    shapes = {"reference": (2, 4, 4, 4), "target": (4, 4, 4, 4), "pose": (4, 3, 16, 16), "noise": (4, 4, 4, 4)}
    batch = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    times, contexts = torch.tensor([300, 700]), torch.randn(2, 5, 12, generator=random)
    with torch.no_grad():
        both = diffusion_loss(
            networks, published_scheduler(), **batch, context=contexts, timesteps=times, keep_reference=keep
        )
        for k in range(2):
            own = {name: value[k * len(value) // 2 : (k + 1) * len(value) // 2] for name, value in batch.items()}
            one = diffusion_loss(
                networks, published_scheduler(), **own, context=contexts[k : k + 1], timesteps=times[k : k + 1],
                keep_reference=None if keep is None else keep[k : k + 1],
            )  # fmt: skip
            assert torch.allclose(both[2 * k : 2 * k + 2], one, rtol=1e-4)


def test_training_on_videos_with_captions(films, make_tiny, tower, tokenizer, tmp_path):
    shutil.copytree(films[0], tmp_path / "videos")
    for name in "ab":
        (tmp_path / "videos" / f"{name}.txt").write_text("a woman\n dances\n")
    command = ["dataset", str(tmp_path / "videos"), "--poses", str(films[1]), "--out", str(tmp_path / "set")]
    assert main(command) == 0
    index = json.loads((tmp_path / "set" / "index.json").read_text())
    assert [video["caption"] for video in index["videos"]] == ["a woman dances", "a woman dances", ""]

    save_folder(tmp_path / "start", dataclasses.replace(make_tiny(), text_encoder=tower))
    stage = StageConfig(
        "own", ["appearance"], 1, controls=["appearance"], references=1, targets=1, drop_text=0.1, optimizer="adamw"
    )
    data = DataConfig(kind="videos", folder=str(tmp_path / "set"), size=32, captions=True)
    config = TrainingConfig([stage], start=StartConfig(str(tmp_path / "start")), data=data)
    with pytest.raises(InputError, match="start/tokenizer is not a tokenizer"):
        train(config, tmp_path / "run", "cpu")
    shutil.copytree(tokenizer, tmp_path / "start" / "tokenizer")
    train(config, tmp_path / "run", "cpu")
    tuned = load(tmp_path / "run" / "final" / "model.safetensors")
    assert torch.equal(tuned.context, encode_empty_prompt(tower)) and tuned.text_encoder is None
    with pytest.raises(InputError, match="drop_text, and data.captions is false"):
        dataclasses.replace(config, data=dataclasses.replace(data, captions=False))
