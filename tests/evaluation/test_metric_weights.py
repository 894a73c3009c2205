"""Weight files of metrics: correct, wrong and missing ones."""

import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from magicdance_core.errors import InputError
from magicdance_core.evaluation.metric_networks import load_metric_networks
from magicdance_core.evaluation.metric_weights import FILES, VGG, find_weights, help_text, load_metric_network, sha256
from magicdance_core.evaluation.video_networks import ResNet3D


def small():
    return ResNet3D(4, (1, 1, 1, 1))


def test_the_hash_of_a_file_is_checked(tmp_path):
    data = bytes(range(256)) * 5000
    (tmp_path / VGG.name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    assert sha256(tmp_path / VGG.name) == digest
    assert (
        find_weights(tmp_path, replace(VGG, sha256=digest))
        == find_weights(tmp_path, replace(VGG, sha256=None))
        == tmp_path / VGG.name
    )
    with pytest.raises(InputError, match=f"is not the published {VGG.name} .SHA-256 {digest[:12]}"):
        find_weights(tmp_path, VGG)
    assert find_weights(tmp_path, replace(VGG, name="absent")) is find_weights(None, VGG) is None


def test_published_checkpoint_layout_is_read(tmp_path):
    """From data parallelism, in a dictionary with other things, with the classifier, without batch counters."""
    state = {f"module.{n}": torch.rand_like(v) for n, v in small().state_dict().items() if "num_batches" not in n}
    torch.save(
        {"epoch": 3, "arch": "resnet-50", "state_dict": state | {"module.fc.weight": torch.ones(4, 4)}},
        tmp_path / "a.pth",
    )
    network = load_metric_network(small(), tmp_path / "a.pth", ignored=("fc.",))
    assert all(torch.equal(network.state_dict()[n.removeprefix("module.")], v) for n, v in state.items())
    assert not network.training and not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("layer2.0.conv1.weight"), "lacks layer2.0.conv1.weight"),
        (lambda state: state.update(extra=torch.ones(1)), "also holds extra"),
        (lambda state: state.update({"bn1.weight": torch.ones(5)}), "has another shape of bn1.weight"),
    ],
)
def test_weights_of_another_network_are_refused_by_name(tmp_path, change, message):
    state = small().state_dict()
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=f"of another network .it {message}"):
        load_metric_network(small(), tmp_path / "a.safetensors")


def test_pickled_code_is_never_run(tmp_path):
    torch.save({"state_dict": {"x": torch.nn.Linear(1, 1)}}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="Python code"):
        load_metric_network(small(), tmp_path / "a.pth")


def test_help_lists_every_file_with_its_hash(tmp_path):
    (tmp_path / VGG.name).write_bytes(b"x")
    text = help_text(tmp_path)
    assert all(file.name in text and file.source in text and (file.sha256 or "unknown") in text for file in FILES)
    assert f"{hashlib.sha256(b'x').hexdigest()} (another file)" in text


def test_without_files_each_metric_says_what_it_needs(tmp_path):
    networks = load_metric_networks(tmp_path, torch.device("cpu"))
    assert not networks.extractors and networks.lpips is None and not networks.files
    assert networks.needs["lpips"] == "vgg16-397923af.pth" and networks.needs["fvd"] == "i3d_pretrained_400.pt"
    assert set(networks.needs) == {
        "lpips", "face_cos", "face_found", "face_cos_adaface", "fid", "kid", "inception_score", "fid_vid", "fvd",
        "cd_fvd", "fvmd", "clip_score", "subject_consistency", "background_consistency", "motion_smoothness",
        "pose_error", "pose_found",
    }  # fmt: skip
