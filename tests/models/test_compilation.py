"""Compiled blocks give the same results, and similar blocks are compiled once."""

import shutil

import pytest
import torch

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.models import ReferenceSource, compilation
from magicdance_core.models.compilation import compile_blocks

recent_torch = pytest.mark.skipif(torch.__version__ < "2.5", reason="compilation is refused with this torch")


@recent_torch
@torch.no_grad()
def test_similar_blocks_are_compiled_once(tiny):
    graphs, middle = [], tiny.unet.mid_block  # two residual blocks and a transformer

    def backend(graph, inputs):
        """Runs a graph as it is."""
        graphs.append(graph)
        return graph.forward

    name = "attentions.0.transformer_blocks.0"
    keys, values = torch.randn(1, 5, 32), torch.randn(1, 5, 32)
    source = ReferenceSource(*({name: x, f"mid_block.{name}": x} for x in (keys, values)), strength=0.5)

    def outputs(rows: int, side: int) -> torch.Tensor:
        torch.manual_seed(rows)
        x, time, text = torch.randn(rows, 32, side, side), torch.randn(rows, 64), torch.randn(1, 3, 12)
        return middle(x, time, text, cross_attention_kwargs={"source": source})

    plain = [outputs(3, 4), outputs(2, 6)]
    assert compile_blocks(middle, backend) == 2 and compile_blocks(middle, backend) == 0  # the second time all is done
    assert torch.equal(outputs(3, 4), plain[0]) and len(graphs) == 2
    assert torch.equal(outputs(2, 6), plain[1])  # another batch and size: only what took one of them for a constant
    assert len(graphs) <= 3


@recent_torch
@torch.no_grad()
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_a_block_is_compiled_by_inductor(tiny):
    block = tiny.unet.mid_block.resnets[0]
    x, time = torch.randn(2, 32, 4, 4), torch.randn(2, 64)
    plain = block(x, time)
    compile_blocks(block)
    assert torch.allclose(block(x, time), plain, atol=1e-5)


def test_missing_compiler_is_an_input_error(tiny, monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="needs a C"):
        MagicDancePipeline(tiny).compile()


def test_a_torch_that_compiles_each_block_anew_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: name)
    monkeypatch.setattr(compilation.torch, "__version__", type(torch.__version__)("2.4.1+cu121"))
    with pytest.raises(InputError, match=r"torch 2.4.1\+cu121 compiles each block anew: update to torch 2.5"):
        MagicDancePipeline(tiny).compile()


@recent_torch
def test_a_python_whose_dictionaries_hide_changes_is_refused(tiny, monkeypatch):
    monkeypatch.setattr(compilation.sys, "version_info", (3, 13, 0, "final", 0))
    with pytest.raises(InputError, match=r"stale .* update to Python 3.13.1"):
        MagicDancePipeline(tiny).compile()
