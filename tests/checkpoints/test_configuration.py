"""Every configuration ends in a network or an InputError, fast and without memory; `make fuzz` tries many more."""

import copy
import json
import os

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from magicdance_core.checkpoints import ROLES
from magicdance_core.checkpoints.components import SUPPORTED_SCHEDULERS, scheduler_from_config
from magicdance_core.checkpoints.configuration import MAX_CHANNELS, defaults
from magicdance_core.errors import InputError
from magicdance_core.models import MotionModule
from magicdance_core.schedule import published_scheduler

quick = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", 12)),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([10**6, 10**9, 10**30, -(2**63), MAX_CHANNELS, 2**31]),
    st.floats(),
    st.booleans(),
)
words = st.sampled_from(
    ["", "silu", "DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "linear", "a/b", "\0", "x" * 999]
)
plain = st.recursive(st.one_of(st.none(), numbers, words), lambda inner: st.lists(inner, max_size=9), max_leaves=9)
anything = st.one_of(plain, st.dictionaries(words, plain, max_size=3))


@pytest.fixture(scope="module")
def configs(make_tiny) -> dict[str, dict]:
    """Return configurations of valid networks as in files."""
    tiny = make_tiny()
    motion = MotionModule.for_unet(tiny.unet)
    motion.add_temporal_decoder(tiny.vae)
    networks = tiny.networks() | {"motion": motion}
    made = {name: json.loads(ROLES[name].kind.to_json_string(network)) for name, network in networks.items()}
    return made | {"text_encoder": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}}


@pytest.mark.parametrize("role", ROLES)
@quick
@given(data=st.data())
def test_changed_configurations_make_a_network_or_an_input_error(role, configs, data):
    config = copy.deepcopy(configs[role])
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from([*sorted(config), "unknown"]))
        value = config.get(key)
        if isinstance(value, list) and value and data.draw(st.booleans()):
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(anything)
        else:
            config[key] = data.draw(anything)
    try:
        network = ROLES[role].build(config, "config.json")
    except InputError as error:
        assert str(error).startswith("config.json")
    else:
        assert all(weight.is_meta for weight in network.parameters())


@quick
@given(config=anything)
@example(config=[])
@example(config="a/b")
@example(config={1: 2})
def test_anything_else_is_refused_as_a_configuration(config):
    for role in ROLES.values():
        try:
            role.configured(config, "x")
        except InputError:
            continue
        assert isinstance(config, dict)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"layers_per_block": 10**6}, "1 to 64"),
        ({"block_out_channels": [10**9, 10**9]}, f"1 to {MAX_CHANNELS}"),
        ({"block_out_channels": [8] * 9}, "levels"),
        ({"block_out_channels": [16, 20]}, "not a multiple of norm_num_groups \\(8\\)"),
        ({"down_block_types": ["DownBlock2D", "os"]}, "give one of"),
        ({"down_block_types": ["DownBlock2D", "DownBlock2D"]}, "no CrossAttnDownBlock2D"),
        ({"cross_attention_dim": "768"}, "whole number"),
        ({"norm_eps": float("nan")}, "finite"),
        ({"addition_embed_type": "text_time"}, "only None is supported"),
    ],
)
def test_values_out_of_range_are_named(configs, change, says):
    with pytest.raises(InputError, match=f"^c: .*{says}"):
        ROLES["unet"].build(configs["unet"] | change, "c")


@pytest.mark.parametrize("name", SUPPORTED_SCHEDULERS)
def test_supported_schedulers_denoise(name):
    config = {**published_scheduler().config, "_class_name": name}
    scheduler = scheduler_from_config(json.loads(json.dumps(config)), "s")
    scheduler.set_timesteps(4)
    latents = torch.ones(1, 4, 2, 2) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        inputs = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(0.1 * inputs, timestep, latents).prev_sample
    assert torch.isfinite(latents).all()


@quick
@given(data=st.data())
def test_changed_schedules_make_a_scheduler_or_an_input_error(data):
    config = {**published_scheduler().config, "_class_name": data.draw(st.sampled_from(SUPPORTED_SCHEDULERS))}
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=3)):
        config[key] = data.draw(anything)
    try:
        scheduler = scheduler_from_config(config, "s")
    except InputError:
        return
    assert type(scheduler).__name__ in SUPPORTED_SCHEDULERS and scheduler.config.num_train_timesteps <= 10_000


@quick
@given(values=anything)
def test_defaults_are_checked(values):
    try:
        made = defaults(values, "d")
    except InputError:
        return
    assert 1 <= made["num_inference_steps"] <= 1000 and 8 <= made["sample_size"] <= 4096
