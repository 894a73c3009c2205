"""Threads and half precision on a CPU."""

import pytest
import torch

from magicdance_core import MagicDancePipeline
from magicdance_core import cpu as module
from magicdance_core.commands.common import load_model
from magicdance_core.cpu import (
    SMALL,
    SMALL_SAMPLING,
    available_cores,
    fast_dtype,
    iterate_with_threads,
    threads,
    threads_for,
)
from magicdance_core.sampling import SamplingSettings

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_configured_threads(monkeypatch):
    for name in module.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "THREADS_AT_IMPORT", torch.get_num_threads())


def layer(parameters: int) -> torch.nn.Linear:
    return torch.nn.Linear(parameters, 1, device="meta")


def test_small_networks_get_one_thread_and_large_ones_no_more_than_there_are_cores(monkeypatch):
    with threads(available_cores() + 2):
        monkeypatch.setattr(module, "THREADS_AT_IMPORT", torch.get_num_threads())
        assert threads_for(torch.nn.Linear(4, 4), None) == 1
        assert threads_for(layer(SMALL)) == available_cores()
        assert threads_for(layer(SMALL), small=SMALL_SAMPLING) == 1
        assert threads_for(layer(SMALL_SAMPLING), small=SMALL_SAMPLING) == available_cores()


def test_a_configured_number_is_kept(monkeypatch):
    with threads(3):
        assert threads_for(layer(4)) == threads_for(layer(SMALL)) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_for(layer(4)) == torch.get_num_threads()


def test_the_number_is_restored():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    seen = [torch.get_num_threads() for _ in iterate_with_threads(before + 1, range(2))]
    assert seen == [before, before]


def test_run_and_stream_set_and_restore_the_number(tiny, monkeypatch):
    """Commands and nodes all come through `run` and `stream`."""
    with threads(2):
        monkeypatch.setattr(module, "THREADS_AT_IMPORT", 2)
        seen = set()
        for network in (tiny.unet, tiny.vae.encoder, tiny.vae.decoder, tiny.pose.controlnet_cond_embedding):
            network.register_forward_pre_hook(lambda *args: seen.add(torch.get_num_threads()))
        pipe, poses = MagicDancePipeline(tiny), torch.rand(2, 3, 16, 16)
        pipe(torch.rand(3, 16, 16), poses, 1)
        for _ in pipe.stream(torch.rand(3, 16, 16), list(poses), 2, settings=SamplingSettings(1)):
            assert torch.get_num_threads() == 2
        assert seen == {1} and torch.get_num_threads() == 2


def reporting(*names):
    return lambda: dict.fromkeys(names, True)


@pytest.mark.parametrize(
    "capabilities, fast",
    [
        (reporting(), {torch.float32}),
        (reporting("avx512_bf16"), {torch.float32, torch.bfloat16}),
        (reporting("amx_bf16", "amx_fp16"), {torch.float32, torch.bfloat16, torch.float16}),
    ],
)
def test_half_precision_is_kept_where_the_cpu_has_instructions(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities, raising=False)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert (fast_dtype(dtype, CPU) == dtype) == (dtype in fast)
        assert fast_dtype(dtype, torch.device("cuda")) == dtype


def test_float32_is_used_if_torch_reports_no_capabilities(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_dtype(torch.bfloat16, CPU) == torch.float32


def test_a_command_warns_once_that_it_computes_in_float32(tiny, tmp_path, monkeypatch, caplog):
    MagicDancePipeline(tiny).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch.cpu, "get_capabilities", reporting(), raising=False)
    pipe = load_model(str(tmp_path / "model"), "cpu", "bfloat16")
    (message,) = caplog.messages
    assert "no instructions for bfloat16" in message
    weight, rounded = pipe.unet.conv_in.weight, tiny.unet.conv_in.weight.bfloat16()
    assert weight.dtype == torch.float32 and torch.equal(weight, rounded.float())
    monkeypatch.setattr(torch.cpu, "get_capabilities", reporting("amx_bf16"), raising=False)
    assert load_model(str(tmp_path / "model"), "cpu", "bfloat16").unet.dtype == torch.bfloat16
    assert len(caplog.messages) == 1
