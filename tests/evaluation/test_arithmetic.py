"""The count of arithmetic, which needs full-size networks but neither weights nor a GPU."""

import re
from pathlib import Path

import pytest

from magicdance_core.evaluation.arithmetic import count_arithmetic


@pytest.fixture(scope="module")
def counted():
    return count_arithmetic()


def test_published_order_costs_3124_gflop(counted):
    assert counted["published_gflop_per_frame_step"] == pytest.approx(3124, rel=0.002)


def test_our_order_costs_two_thirds_of_the_published(counted):
    assert 0.6 < counted["ratio_to_published"] <= 0.66
    assert counted["ratio_to_published"] == pytest.approx(counted["gflop_per_frame_step"] / 3124)
    assert sum(counted["breakdown"].values()) == pytest.approx(counted["gflop_per_frame_step"])


def test_breakdown_is_the_sum_of_each_networks_calls(counted):
    parts = counted["breakdown"]
    first_step_shared = 803.27 * 15 / 16 / 50
    # a little less still: the text is projected once a batch
    assert parts["unet"] == pytest.approx(803.27 + 925.77 - first_step_shared, rel=5e-3)
    assert parts["appearance"] == pytest.approx(765.29 / 16, rel=1e-3)
    assert parts["pose"] == pytest.approx(283.29 - 14.72 * 49 / 50, rel=1e-2)
    assert parts["bank"] == pytest.approx(25.59 / 16, rel=1e-2)


def test_documents_state_what_is_counted(counted):
    text = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    ours, ratio = re.search(r"\| this pack, same result \| (\S+) \| (\S+) \|", text).groups()
    (published,) = re.search(r"\| published procedure \| (\S+) \| 1 \|", text).groups()
    assert f"{counted['gflop_per_frame_step']:.0f}" == ours and f"{counted['ratio_to_published']:.3f}" == ratio
    assert counted["published_gflop_per_frame_step"] == pytest.approx(float(published), rel=0.002)
