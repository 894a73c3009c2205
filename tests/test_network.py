"""Nothing of ours reaches for the network; `no_network` in conftest.py watches every test for it."""

import json
import socket

import pytest
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file

from magicdance_core.checkpoints import load, save_folder
from magicdance_core.errors import InputError


def test_the_watch_sees_what_is_caught(no_network):
    for reach in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
        lambda: socket.getaddrinfo("example.org", 80),
        lambda: UNet2DConditionModel.load_config("a/b"),  # what a name in place of a configuration does
    ):
        with pytest.raises(Exception):  # noqa: B017
            reach()
        assert no_network
        no_network.clear()


@pytest.mark.parametrize("content", [["a", "b"], "runwayml/stable-diffusion-v1-5", None, 5])
@pytest.mark.parametrize(
    "file", ["unet/config.json", "vae/config.json", "pose_control_model/config.json", "scheduler/scheduler_config.json",
             "model_index.json"],
)  # fmt: skip
def test_a_name_in_place_of_a_configuration(tiny_folder, file, content):
    text = (tiny_folder / file).read_text()
    (tiny_folder / file).write_text(json.dumps(content))
    try:
        with pytest.raises(InputError, match="config|JSON object"):
            load(tiny_folder)
    finally:
        (tiny_folder / file).write_text(text)


@pytest.mark.parametrize("content", [["a"], "runwayml/stable-diffusion-v1-5", None, {"unet": "a/b"}, {"unet": ["a"]}])
def test_a_name_in_place_of_metadata(tiny, tmp_path, content):
    tensors = {f"model.diffusion_model.{name}": weight for name, weight in tiny.unet.state_dict().items()}
    tensors |= {f"first_stage_model.{name}": weight for name, weight in tiny.vae.state_dict().items()}
    save_file(tensors | {"empty_prompt": tiny.context}, tmp_path / "m.safetensors", {"magicdance": json.dumps(content)})
    with pytest.raises(InputError):
        load(tmp_path / "m.safetensors")


@pytest.fixture(scope="module")
def tiny_folder(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_folder(folder, make_tiny())
    return folder
