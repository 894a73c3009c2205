"""Regional compilation: blocks that a network repeats are compiled once for all that are alike, which starts soon."""

import functools
import importlib.util
import os
import shutil
import types
from collections.abc import Callable

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from ..errors import InputError
from .attention import ReferenceSource, SourceAttention, self_attention_blocks

COMPILERS = ("g++", "clang++", "cl")
ANY = ""  # stands for every block's name, so that what is compiled for one block fits all that are alike


def compile_blocks(network: nn.Module, backend: str | Callable = "inductor") -> int:
    """Compile the transformer and residual blocks of a diffusers UNet or ControlNet, in place; how many regions.

    The result is the same within the dtype's rounding. A region, all blocks with weights of the same shapes, is
    compiled when the first of them is called; frames of a batch and sizes of pictures may vary. Hooks on blocks stay
    outside, so they may come later. backend: as torch.compile takes it; the default needs a C++ compiler on a CPU.
    """
    for name, block in self_attention_blocks(network).items():
        if isinstance(block.attn1.processor, SourceAttention) and block.attn1.processor.block != ANY:
            block.attn1.set_processor(SourceAttention(ANY))
            block.register_forward_pre_hook(functools.partial(_with_own_source, name), with_kwargs=True)
    regions: dict[tuple, Callable] = {}
    for block in network.modules():
        if not isinstance(block, (BasicTransformerBlock, ResnetBlock2D)) or "forward" in vars(block):
            continue
        shapes = tuple(tuple(weight.shape) for weight in block.parameters())
        if (key := (type(block), shapes)) not in regions:
            regions[key] = torch.compile(_own_code(type(block).forward), backend=backend, dynamic=True)
        block.forward = functools.partial(regions[key], block)
    return len(regions)


def check_compiler(device: torch.device) -> None:
    """Raise InputError where torch.compile lacks what it needs."""
    if device.type == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))):
        raise InputError("Compilation needs a C++ compiler on a CPU: install g++, or do without.")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError("Compilation needs triton on a GPU: pip install triton, or do without.")


def _own_code(function: Callable) -> Callable:
    """The same function with a code object of its own: torch counts what it has compiled by code object, and gives up
    after eight."""
    code = function.__code__
    copy = types.FunctionType(
        code.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _with_own_source(name: str, block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    given = kwargs.get("cross_attention_kwargs")
    source = given and given.get("source")
    if source is None:
        return None
    own = ReferenceSource({ANY: source.keys[name]}, {ANY: source.values[name]}, source.strength, source.rows)
    return args, kwargs | {"cross_attention_kwargs": given | {"source": own}}
