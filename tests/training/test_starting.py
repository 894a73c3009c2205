import dataclasses

import pytest
import torch
from processes import in_processes
from safetensors import safe_open
from safetensors.torch import save_file

from magicdance_core.checkpoints import load, save_folder, save_published
from magicdance_core.data.data_config import DataConfig
from magicdance_core.errors import InputError
from magicdance_core.training.config import StageConfig, StartConfig, TrainingConfig, load_config
from magicdance_core.training.engine import train
from magicdance_core.training.plan import _empty_model
from magicdance_core.training.starting import random_model, starting_point


def config(model, run=None, **start):
    stage = StageConfig("own", ["appearance", "pose"], 1, controls=["appearance", "pose"], references=1, targets=1)
    data = DataConfig(size=32, identities=2, frames=2, held_out=0)
    return TrainingConfig([stage], start=StartConfig(str(model), **start), data=data, **(run or {}))


@pytest.fixture(scope="module")
def small(make_tiny):
    return make_tiny()


@pytest.fixture(scope="module")
def files(small, tmp_path_factory):
    """Small versions of the files around the published training: stages 1 and 2, Stable Diffusion, a ControlNet."""
    folder = tmp_path_factory.mktemp("starts")
    stage_2 = folder / "stage-2.safetensors"
    save_published(stage_2, small)
    with safe_open(stage_2, "pt") as file:
        whole, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    base = {k: v for k, v in whole.items() if "_control_model." not in k}
    own = [k for k in whole if k.startswith("appearance_control_model.")]
    parts = {"stage-1": base | {k.replace("appearance_", "", 1): whole[k] for k in own}, "sd": base}
    own = [k for k in whole if k.startswith("pose_control_model.")]
    parts["pose"] = {k.replace("pose_", "", 1): whole[k] for k in own}
    for name, tensors in parts.items():
        save_file(tensors, folder / f"{name}.safetensors", metadata)
    save_folder(folder / "own", small)
    return folder, stage_2


def same(one, two):
    return all(torch.equal(w, two.state_dict()[name]) for name, w in one.state_dict().items())


def test_training_starts_from_every_published_file(files, small):
    folder, stage_2 = files
    for path in (stage_2, folder / "own"):
        model = starting_point(config(path))
        assert same(model.appearance, small.appearance) and same(model.pose, small.pose)
        assert torch.equal(model.context, small.context)
    stage_1 = starting_point(config(folder / "stage-1.safetensors", pose=str(folder / "pose.safetensors")))
    assert same(stage_1.appearance, small.appearance) and same(stage_1.pose, small.pose)
    plain = starting_point(config(folder / "sd.safetensors"))
    assert all(torch.equal(w, small.unet.state_dict()[n]) for n, w in plain.appearance.state_dict().items())
    assert torch.equal(plain.pose.conv_in.weight, small.unet.conv_in.weight)
    assert not any(weight.any() for weight in plain.pose.controlnet_down_blocks.parameters())
    assert plain.scheduler.config.prediction_type == "epsilon" and plain.vae.config.scaling_factor == 0.18215


def _train(config, out):
    train(config, out, "cpu")


def test_fine_tuning_changes_only_what_learns_and_can_be_loaded(files, small, tmp_path):
    # Accelerate keeps one precision a process, and other tests have taken float32.
    run = {"precision": "bfloat16", "frozen": "bfloat16", "export": "float32"}
    assert in_processes(_train, config(files[1], run), tmp_path) == [0]
    tuned = load(tmp_path / "final" / "model.safetensors")
    assert same(tuned.unet, small.unet) and same(tuned.vae, small.vae)
    assert not same(tuned.appearance, small.appearance) and not same(tuned.pose, small.pose)


def test_starts_that_do_not_fit_are_refused(files, tmp_path):
    with pytest.raises(InputError, match="v_prediction, and .* predicts epsilon"):
        starting_point(config(files[1], {"prediction_type": "v_prediction"}))
    with pytest.raises(InputError, match="data.size is 36: give a multiple of 8"):
        wrong = config(files[1])
        starting_point(dataclasses.replace(wrong, data=dataclasses.replace(wrong.data, size=36)))
    with pytest.raises(InputError, match="does not exist|not a file"):
        starting_point(config(tmp_path / "absent.safetensors"))


def test_a_control_of_another_architecture_is_refused(files, make_tiny, tmp_path):
    other = make_tiny()
    wider = type(other.pose).from_config(dict(other.pose.config) | {"layers_per_block": 2})
    save_folder(tmp_path / "other", dataclasses.replace(other, pose=wider))
    with pytest.raises(InputError, match="Pose ControlNet has layers_per_block 2 and the UNet 1"):
        starting_point(config(files[1], pose=str(tmp_path / "other")))


def test_a_warm_start_copies_the_weights_that_fit(tmp_path):
    smoke = load_config("smoke")
    lender = random_model(smoke, dataclasses.replace(smoke.networks))
    for network in lender.networks().values():
        torch.nn.init.normal_(next(network.parameters()))
    save_folder(tmp_path / "lender", lender)
    vae = smoke.networks.vae | {"latent_channels": 8}
    unet = smoke.networks.unet | {"in_channels": 8, "out_channels": 8}
    networks = dataclasses.replace(smoke.networks, vae=vae, unet=unet, warm_start=str(tmp_path / "lender"))
    model = random_model(dataclasses.replace(smoke, seed=1), networks)
    for role in ("unet", "appearance", "pose"):
        lent, own = getattr(lender, role).state_dict(), getattr(model, role).state_dict()
        other = {name for name in own if own[name].shape != lent[name].shape}
        assert all(torch.equal(own[name], lent[name]) for name in own.keys() - other)
        assert other == {"conv_in.weight"} | ({"conv_out.weight", "conv_out.bias"} if role == "unet" else set())
    assert not torch.equal(next(model.vae.parameters()), next(lender.vae.parameters()))

    wider = dataclasses.replace(networks, unet=unet | {"block_out_channels": [16, 32]})
    with pytest.raises(InputError, match="warm_start: .* weights of the UNet fit: give a model of the same widths"):
        random_model(smoke, wider)
    gone = dataclasses.replace(networks, warm_start=str(tmp_path / "gone"))
    with pytest.raises(InputError, match="gone does not exist: train that model first"):
        random_model(smoke, gone)
    _empty_model(dataclasses.replace(smoke, networks=gone))  # a plan needs no weights
