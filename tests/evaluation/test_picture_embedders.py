"""Networks of the newer metrics against independent computations on random weights, and the metrics' arithmetic."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, VideoMAEConfig, VideoMAEForVideoClassification

from magicdance_core.errors import InputError
from magicdance_core.evaluation import motion_features, picture_embedders
from magicdance_core.evaluation.adaface import AdaFace
from magicdance_core.evaluation.face_similarity import FaceExtractor, adaface_embedder
from magicdance_core.evaluation.features import videomae_extractor
from magicdance_core.evaluation.picture_embedders import (
    clip_embedder,
    clip_score,
    consistency,
    dino_embedder,
    inception_score,
)
from magicdance_core.evaluation.point_tracker import PointTracker
from magicdance_core.evaluation.vision_transformers import VisionTransformer

CPU = torch.device("cpu")


def randomize(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
                if name.endswith(("running_var", "norm1.weight", "norm2.weight")):
                    tensor.abs_().add_(0.5)
    return network.eval()


def test_dinos_network_is_timms():
    timm = pytest.importorskip("timm.models.vision_transformer")
    theirs = randomize(
        timm.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=4, num_classes=0, global_pool="token"
        )
    )
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
    ours = VisionTransformer.of_shapes(shapes, 4)
    ours.load_state_dict(theirs.state_dict())
    pictures = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(ours.eval()(pictures), theirs(pictures), atol=1e-5)


def video_mae():
    """A small network of transformers, and its weights by the names of the published file."""
    config = VideoMAEConfig(
        image_size=32, patch_size=8, num_frames=4, hidden_size=16, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=24, hidden_act="gelu", layer_norm_eps=1e-6,
    )  # fmt: skip
    theirs = randomize(VideoMAEForVideoClassification(config))
    state, named = theirs.state_dict(), {}
    named["patch_embed.proj.weight"] = state["videomae.embeddings.patch_embeddings.projection.weight"]
    named["patch_embed.proj.bias"] = state["videomae.embeddings.patch_embeddings.projection.bias"]
    for k in range(2):
        layer, block = f"videomae.encoder.layer.{k}", f"blocks.{k}"
        attention = f"{layer}.attention.attention"
        named[f"{block}.attn.qkv.weight"] = torch.cat(
            [state[f"{attention}.{part}.weight"] for part in ("query", "key", "value")]
        )
        for part, name in (("q_bias", "query"), ("v_bias", "value")):
            named[f"{block}.attn.{part}"] = state.get(f"{attention}.{name}.bias", state.get(f"{attention}.{part}"))
        for ours, name in (
            ("norm1", "layernorm_before"), ("norm2", "layernorm_after"), ("attn.proj", "attention.output.dense"),
            ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
        ):  # fmt: skip
            named |= {f"{block}.{ours}.{part}": state[f"{layer}.{name}.{part}"] for part in ("weight", "bias")}
    named |= {f"fc_norm.{part}": state[f"fc_norm.{part}"] for part in ("weight", "bias")}
    return theirs, named


def test_video_mae_is_transformers(tmp_path, monkeypatch):
    theirs, named = video_mae()
    torch.save({"module": named | {"head.weight": torch.zeros(2, 16)}}, tmp_path / "v.pth")  # as DeepSpeed saves
    monkeypatch.setattr("magicdance_core.evaluation.features.VIDEOMAE_HEADS", 4)
    extractor = videomae_extractor(tmp_path / "v.pth", CPU)
    clips = torch.rand(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = []
    theirs.fc_norm.register_forward_hook(lambda _, __, out: seen.append(out))
    with torch.no_grad():
        theirs(clips.transpose(1, 2))
        assert torch.allclose(extractor.network(clips), seen[0], atol=1e-5)
    assert (extractor.shift, extractor.scale, extractor.window, extractor.size) == ((0, 0, 0), 255, 16, 224)
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="is no vision transformer"):
        videomae_extractor(tmp_path / "w.pth", CPU)


def plain_adaface(state, x):
    """The same arithmetic written out."""

    def norm(name, x):
        mean, var = (state[f"{name}.running_{part}"] for part in ("mean", "var"))
        shape = [1, -1] + [1] * (x.dim() - 2)
        y = (x - mean.reshape(shape)) / (var.reshape(shape) + 1e-5).sqrt()
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        return y if weight is None else y * weight.reshape(shape) + bias.reshape(shape)

    def prelu(name, x):
        return torch.where(x > 0, x, x * state[f"{name}.weight"].reshape(1, -1, 1, 1))

    x = prelu("input_layer.2", norm("input_layer.1", F.conv2d(x, state["input_layer.0.weight"], padding=1)))
    for k in range(len({name.split(".")[1] for name in state if name.startswith("body.")})):
        unit = f"body.{k}"
        stride = 2 if k % 2 == 0 else 1  # two units a level
        short = x[..., ::stride, ::stride]
        if f"{unit}.shortcut_layer.0.weight" in state:
            short = norm(f"{unit}.shortcut_layer.1", F.conv2d(short, state[f"{unit}.shortcut_layer.0.weight"]))
        y = F.conv2d(norm(f"{unit}.res_layer.0", x), state[f"{unit}.res_layer.1.weight"], padding=1)
        y = prelu(f"{unit}.res_layer.3", norm(f"{unit}.res_layer.2", y))
        y = F.conv2d(y, state[f"{unit}.res_layer.4.weight"], padding=1, stride=stride)
        x = short + norm(f"{unit}.res_layer.5", y)
    x = norm("output_layer.0", x).flatten(1)
    x = norm("output_layer.4", x @ state["output_layer.3.weight"].T + state["output_layer.3.bias"])
    return x / x.norm(dim=1, keepdim=True)


def test_adaface_is_its_arithmetic_and_takes_blue_first():
    network = randomize(AdaFace((2, 2, 2, 2), 4)).double()
    faces = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(network(faces), plain_adaface(network.state_dict(), faces), atol=1e-9)
        blob = faces[:1].float().numpy()
        embedded = adaface_embedder(network.float(), CPU)(blob)[0]
        assert np.allclose(embedded, network(torch.from_numpy(blob[:, [2, 1, 0]].copy())).numpy(), atol=1e-5)


def test_adaface_of_the_published_sizes_is_told_by_its_units(tmp_path):
    full = {f"model.body.{k}.res_layer.0.weight": torch.zeros(1) for k in range(10)}
    torch.save({"state_dict": full}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match="is no AdaFace of 50 or 101 layers .it has 10 units"):
        FaceExtractor.with_adaface(tmp_path / "d.onnx", tmp_path / "a.ckpt", CPU)
    with torch.device("meta"):
        assert sum(p.numel() for p in AdaFace().parameters()) == pytest.approx(65.15e6, rel=0.01)


@pytest.fixture
def clip_folder(tmp_path):
    torch.manual_seed(0)
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 8,
        "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(text_config=text, vision_config=vision | {"patch_size": 32}, projection_dim=8)
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "b</w>": 3, "a": 4, "b": 5}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    return tmp_path, model


def test_clip_gives_transformers_features(clip_folder):
    folder, model = clip_folder
    embedder, text = clip_embedder(folder / "model.safetensors", CPU)
    frame = np.random.default_rng(0).integers(0, 256, (60, 40, 3)).astype(np.uint8)
    prepared = embedder.prepare(frame)
    assert prepared.shape == (224, 224, 3)
    mean, deviation = (np.array(v) for v in picture_embedders.CLIP)
    pixels = torch.from_numpy(((prepared / 255 - mean) / deviation).transpose(2, 0, 1)[None]).float()
    ids = torch.tensor([[0, 2, 3, 1]])
    with torch.no_grad():
        out = model(pixel_values=pixels, input_ids=ids, attention_mask=torch.ones_like(ids))
    assert np.allclose(embedder.extract(prepared[None]), out.image_embeds.numpy(), atol=1e-5)
    assert np.allclose(text("a b"), out.text_embeds[0].numpy(), atol=1e-5)
    (folder / "vocab.json").unlink()
    with pytest.raises(InputError, match="is no CLIP in transformers' format"):
        clip_embedder(folder / "model.safetensors", CPU)


def test_consistency_and_clip_score():
    vectors = np.array([[1, 0], [0.6, 0.8], [-1, 0]], np.float32)
    values = consistency(vectors)
    assert np.isnan(values[0]) and values[1:] == pytest.approx([0.6, 0])  # negative cosines count as 0
    assert consistency(vectors[:1]).shape == (1,)
    assert clip_score(vectors, np.array([1.0, 0])) == pytest.approx([100, 60, 0])


def test_inception_score_is_its_definition():
    assert inception_score(torch.full((5, 4), 0.25)) == pytest.approx(1)
    assert inception_score(torch.eye(4)) == pytest.approx(4)
    p = torch.rand(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(1)
    wanted = (p * (p / p.mean(0)).log()).sum(1).mean().exp()
    assert inception_score(p) == pytest.approx(float(wanted))
    counts = torch.tensor([2] * 5 + [0] * 5 + [1] * 10)
    assert inception_score(p, counts) == pytest.approx(inception_score(p.repeat_interleave(counts, 0)))


def test_a_foreign_dino_is_refused(tmp_path):
    torch.save({"blocks.0.mlp.fc1.weight": torch.zeros(4, 4)}, tmp_path / "d.pth")
    with pytest.raises(InputError, match="is no vision transformer"):
        dino_embedder(tmp_path / "d.pth", CPU)


def test_one_command_takes_the_files_at_hand(clip_folder, tmp_path_factory, write_videos, square, capsys, monkeypatch):
    """Small networks under the names of the published files: columns, values in range, hashes in the report."""
    import shutil

    from magicdance_core.__main__ import main

    monkeypatch.setattr(motion_features, "ITERATIONS", 1)
    folder, work = clip_folder[0], tmp_path_factory.mktemp("metrics")
    shutil.copytree(folder, work / "weights" / "clip-vit-base-patch32")
    dino = randomize(VisionTransformer(24, 1, 12, 24, (32, 32), 50))
    torch.save(dino.state_dict(), work / "weights" / "dino_vitbase16_pretrain.pth")
    mae = randomize(VisionTransformer(32, 1, 16, 32, (2, 56, 56), 0))
    torch.save({"module": mae.state_dict()}, work / "weights" / "vit_g_hybrid_pt_1200e_ssv2_ft.pth")
    tracker = randomize(PointTracker(8, (4, 6, 8, 8), 4, 3))
    torch.save({"model_state_dict": tracker.state_dict()}, work / "weights" / "pips2_weights.pth")
    for name, noise in (("truth", 0), ("mine", 30)):
        write_videos(work / name, {"a": square(18, 0, noise), "b": square(18, 1, noise)})
    (work / "truth" / "a.txt").write_text("a b")
    command = ["evaluate", "--truth", str(work / "truth"), "--method", f"mine={work / 'mine'}", "--device", "cpu"]
    assert main([*command, "--weights", str(work / "weights"), "--json", str(work / "r.json")]) == 0
    report = json.loads((work / "r.json").read_text())
    mine = report["methods"]["mine"]
    assert mine["cd_fvd"] > 0 and mine["fvmd"] > 0 and 0 <= mine["clip_score"] <= 100
    assert 0 <= mine["subject_consistency"] <= 1 and 0 <= mine["background_consistency"] <= 1
    assert set(report["weights_sha256"]) == {
        "clip-vit-base-patch32/model.safetensors", "dino_vitbase16_pretrain.pth", "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
        "pips2_weights.pth",
    }  # fmt: skip
    assert mine["notes"]["fid"].startswith("needs weights-inception")
    assert "accepted by its tensors" in capsys.readouterr().out
