"""Compiled blocks give what the blocks gave, and blocks that are alike are compiled once."""

import shutil

import pytest
import torch

from magicdance_core import InputError, MagicDancePipeline
from magicdance_core.models import Networks, compilation, predict, project_bank
from magicdance_core.models.compilation import compile_blocks


@pytest.fixture
def compiled():
    """A backend of torch.compile that runs a graph as it is, and the graphs that it was given."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    yield backend, graphs
    torch.compiler.reset()


@torch.no_grad()
def test_blocks_that_are_alike_are_compiled_once(tiny, compiled):
    backend, graphs = compiled
    networks, text = Networks(tiny.unet), torch.randn(1, 3, 12)
    bank = tiny.appearance(torch.randn(1, 4, 4, 4), 5, text)
    source = project_bank(tiny.unet, bank)

    def outputs(rows: int, side: int) -> torch.Tensor:
        torch.manual_seed(rows)
        return predict(networks, torch.randn(rows, 4, side, side), 5, text, source)

    plain = [outputs(3, 4), outputs(2, 8)]
    regions = compile_blocks(tiny.unet, backend)
    blocks = sum("forward" in vars(module) for module in tiny.unet.modules())
    assert regions < blocks == compile_blocks(tiny.unet, backend) + blocks  # the second time there is nothing to do
    assert torch.equal(outputs(3, 4), plain[0])
    first = len(graphs)
    assert regions <= first < blocks
    assert torch.equal(outputs(2, 8), plain[1])  # another batch and size: only what took one of them for a constant
    assert len(graphs) <= first + 2


@torch.no_grad()
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++")
def test_a_block_through_the_real_compiler(tiny, compiled):
    block = tiny.unet.mid_block.resnets[0]
    x, time = torch.randn(2, 32, 4, 4), torch.randn(2, 64)
    plain = block(x, time)
    compile_blocks(block)
    assert torch.allclose(block(x, time), plain, atol=1e-5)


def test_without_a_compiler_there_is_a_sentence(tiny, monkeypatch):
    monkeypatch.setattr(compilation.shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match="needs a C"):
        MagicDancePipeline(tiny).compile()
