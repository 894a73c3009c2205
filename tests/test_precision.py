"""bfloat16 and float16 on a CPU: only where it has instructions for them."""

import pytest
import torch

from magicdance_core import MagicDancePipeline, precision
from magicdance_core.commands.common import load_model

CPU = torch.device("cpu")


def having(*names):
    return lambda: dict.fromkeys(names, True)


@pytest.mark.parametrize(
    "capabilities, quick",
    [
        (having(), {torch.float32}),
        (having("avx512_bf16"), {torch.float32, torch.bfloat16}),
        (having("amx_bf16", "amx_fp16"), {torch.float32, torch.bfloat16, torch.float16}),
    ],
)
def test_half_precision_where_there_are_instructions(monkeypatch, capabilities, quick):
    monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities, raising=False)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert (precision.quick_dtype(dtype, CPU) == dtype) == (dtype in quick)
        assert precision.quick_dtype(dtype, torch.device("cuda")) == dtype


def test_a_torch_that_tells_nothing_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision.quick_dtype(torch.bfloat16, CPU) == torch.float32


def test_a_command_says_once_that_it_computes_in_float32(tiny, tmp_path, monkeypatch, caplog):
    MagicDancePipeline(tiny).save_pretrained(tmp_path / "model")
    monkeypatch.setattr(torch.cpu, "get_capabilities", having(), raising=False)
    pipe = load_model(str(tmp_path / "model"), "cpu", "bfloat16")
    (message,) = caplog.messages
    assert "no instructions for bfloat16" in message
    weight, rounded = pipe.unet.conv_in.weight, tiny.unet.conv_in.weight.bfloat16()
    assert weight.dtype == torch.float32 and torch.equal(weight, rounded.float())
    monkeypatch.setattr(torch.cpu, "get_capabilities", having("amx_bf16"), raising=False)
    assert load_model(str(tmp_path / "model"), "cpu", "bfloat16").unet.dtype == torch.bfloat16
    assert len(caplog.messages) == 1
