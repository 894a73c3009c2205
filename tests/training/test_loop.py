import dataclasses
import json
from importlib import resources

import pytest
import torch

from magicdance_core.errors import InputError
from magicdance_core.training import loop
from magicdance_core.training.config import load_config

CONFIGS = resources.files("magicdance_core") / "training" / "configs"


@pytest.fixture(scope="module")
def config():
    return load_config(CONFIGS / "smoke.yaml")


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, loop.train(config, out, torch.device("cpu"))


def weights(networks):
    return {f"{n}.{k}": v for n, net in networks.by_name().items() for k, v in net.state_dict().items()}


def test_every_stage_trains_what_it_names_and_logs_it(config, finished):
    out, networks = finished
    stages = [json.loads(line)["stage"] for line in (out / "log.jsonl").read_text().splitlines()]
    assert stages == [stage.name for stage in config.stages]
    assert abs(networks.vae.config.scaling_factor - 0.18215) > 0.01
    assert all(torch.isfinite(w).all() for w in weights(networks).values())


def test_a_run_that_was_killed_ends_with_the_same_weights(config, finished, tmp_path, monkeypatch):
    _, straight = finished
    calls, limit = 0, 0

    def dying(*args, real=loop.save_state):
        nonlocal calls
        real(*args)
        calls += 1
        if calls == limit:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", dying)
    for limit in (1, 4, 7):  # noqa: B007 - read by `dying`
        with pytest.raises(KeyboardInterrupt):
            loop.train(config, tmp_path, torch.device("cpu"))
    resumed = loop.train(config, tmp_path, torch.device("cpu"))
    for name, tensor in weights(straight).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_frozen_networks_stay_and_stages_start_from_the_unet(config, tmp_path):
    stages = [
        dataclasses.replace(config.stages[1], steps=2),
        dataclasses.replace(config.stages[2], steps=1, learning_rate=0.0, ema=0.0),
    ]
    networks = loop.train(dataclasses.replace(config, stages=stages), tmp_path, torch.device("cpu"))
    unet = networks.unet.state_dict()
    appearance = networks.appearance.state_dict()
    assert all(torch.equal(appearance[name], unet[name]) for name in appearance)
    pose = networks.pose.state_dict()
    assert torch.equal(pose["conv_in.weight"], unet["conv_in.weight"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [{name: a, train: [vae], steps: 1, lr: 2}]\nnetworks: {}", "unknown key 'lr'"),
        ("networks: {}", "names no stage"),
        ("- 1", "not a training configuration"),
        ("a: [", "Give a YAML file"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words.replace("[", r"\[")):
        load_config(path)
