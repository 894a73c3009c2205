from dataclasses import replace

import pytest
import yaml

from magicdance_core.errors import InputError
from magicdance_core.training.config import CONFIGS, load_config
from magicdance_core.training.starting import random_model

STAGE = {"name": "a", "train": ["unet"], "steps": 1}
GOOD = {"networks": {"vae": {}, "unet": {}, "pose_channels": [8]}, "stages": [STAGE]}


@pytest.mark.parametrize("name", [path.stem for path in CONFIGS.glob("*.yaml")])
def test_included_configurations_are_valid(name):
    assert load_config(name).stages


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": []}, "stages has 0 entries: give at least 1"),
        ({"stages": [STAGE | {"lr": 2}]}, r"stages\[0\]: the key 'lr' is unknown"),
        ({"stages": [STAGE | {"steps": "six"}]}, "steps is 'six': give a whole number"),
        ({"stages": [STAGE | {"references": 0}]}, "references is 0: give 1 to"),
        ({"stages": [STAGE | {"train": "vae"}]}, "train is 'vae': give a list"),
        ({"stages": [STAGE | {"train": ["unett"]}]}, "is 'unett': give one of vae, unet.*did you mean unet"),
        ({"stages": [STAGE | {"train": ["vae", "unet"]}]}, "train names the vae beside other networks"),
        ({"stages": [STAGE | {"train": ["pose"]}]}, "train names pose, which is not attached: add it"),
        ({"stages": [STAGE | {"from_unet": ["vae"]}]}, "from_unet.* is 'vae': give one of appearance, pose"),
        ({"stages": [STAGE | {"crop": 1000}]}, "crop has no effect unless the vae learns"),
        (
            {"stages": [STAGE | {"train": ["vae"], "crop": 1000}]},
            r"stage a has crop 1000: give at most data.size \(64\)",
        ),
        ({"stages": [STAGE | {"references": 5, "per_pass": 2}]}, "references is 5: give a multiple of per_pass"),
        ({"stages": [STAGE, STAGE]}, "two stages have the same name"),
        ({"stages": [STAGE | {"name": "../a"}]}, "use letters, digits"),
        ({"defaults": {"steps": 4}}, "defaults: the key 'steps' is unknown"),
        ({"prediction_type": "zzz"}, "prediction_type is 'zzz': give one of epsilon, v_prediction"),
        ({"networks": None}, "give either networks"),
        ({"start": {"model": "a"}}, "give either networks"),
        ({"data": {"kind": "videos"}}, "the key folder is missing"),
        ({"data": {"crop": [1.0, 0.5]}}, "give the smaller share first"),
        ({"data": {"size": 64.5}}, "size is 64.5: give a whole number"),
    ],
)
def test_wrong_values_are_named(tmp_path, change, words):
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(GOOD))
    load_config(path)
    path.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(InputError, match=words):
        load_config(path)


def test_an_unknown_name_lists_the_included_configurations():
    with pytest.raises(InputError, match="smok is neither a file nor .*: .*finetune.*smoke"):
        load_config("smok")


@pytest.mark.parametrize(("text", "words"), [("- 1", "not a training configuration"), ("a: [", "is not YAML")])
def test_files_that_are_not_configurations_are_refused(tmp_path, text, words):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        load_config(path)


def test_values_are_overridden_from_the_command_line():
    config = load_config("smoke", ["data.size=64", "stages.0.steps=9", "trackers=[tensorboard]"])
    assert (config.data.size, config.stages[0].steps, config.trackers) == (64, 9, ["tensorboard"])
    for wrong in ("stages.9.steps=1", "stages.x=1", "data.sizes=1", "seed.x.y=2", "data.size", "data.size=["):
        with pytest.raises(InputError):
            load_config("smoke", [wrong])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"block_out_channels": [65536] * 2, "norm_num_groups": 32, "attention_head_dim": 8}, "billion weights"),
        ({"layers_per_block": 10**6}, "1 to 64"),
        ({"colour": "blue"}, "'colour' is unknown"),
        ({"cross_attention_dim": None}, "whole number"),
    ],
)
def test_networks_are_checked_before_they_are_built(change, says):
    config = load_config("smoke.yaml")
    networks = replace(config.networks, unet=config.networks.unet | change)
    with pytest.raises(InputError, match=f"networks.unet.*{says}"):
        random_model(config, networks)


@pytest.mark.parametrize(
    "value",
    ["0x_", "1" * 5000, "0x" + "f" * 5000, "!!float abc", "!!int abc", "!!bool x", "2026-99-99", "2026-02-30",
     "!!binary x",
     "!!binary aGk=", "!!timestamp x", "!!set {a, b}", "&a [*a]", "[" * 3000, "!!python/name:os.system", "? [a]\n: b",
     "\x1b",
     "{1: 2}", "!!omap [a: 1]", "{<<: 3}", "1:99:99", "*a", "%", "- a\nb: c"],
)  # fmt: skip
def test_scalars_that_yaml_cannot_hold_are_one_sentence(tmp_path, value):
    file = tmp_path / "c.yaml"
    file.write_text(f"seed: {value}\nstages: [{{name: a, train: [vae], steps: 1}}]\n")
    for path, overrides in ((file, []), ("smoke", [f"seed={value}"])):
        with pytest.raises(InputError) as error:
            load_config(path, overrides)
        assert str(error.value).isprintable() and len(str(error.value)) < 600


def test_a_text_that_unfolds_to_millions_of_values_is_refused(tmp_path):
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="more than 100,000 values"):
        load_config(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text("#" * 2_000_000)
    with pytest.raises(InputError, match="larger than 1 MB"):
        load_config(tmp_path / "d.yaml")
