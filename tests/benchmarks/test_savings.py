import pytest

from benchmarks.savings import CHANGES, changed, measure
from magicdance_core.errors import InputError
from magicdance_core.training.config import load_config


@pytest.fixture(scope="module")
def smoke():
    return load_config("smoke")


def test_each_way_changes_what_it_says(smoke):
    ways = {name: changed(smoke, "pose", 3, name) for name in CHANGES}
    assert all(way.stages[0].name == "pose" and way.stages[0].steps == 3 for way in ways.values())
    assert ways["checkpointing"].stages[0].checkpointing and ways["bfloat16"].precision == "bfloat16"
    assert changed(smoke, "vae", 3, "rank 8") is None
    with pytest.raises(InputError, match="no stage x: the configuration has vae"):
        changed(smoke, "x", 3, "AdamW")


def test_steps_are_timed_and_memory_seen(smoke, tmp_path):
    found = measure(changed(smoke, "unet", 4, "AdamW"), tmp_path)
    assert found["steps_per_second"] > 0 and found["peak_gib"] > 0
