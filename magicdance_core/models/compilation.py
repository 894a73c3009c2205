"""Regional compilation: repeated blocks of a network are compiled once, which is faster than compiling it whole."""

import functools
import importlib.util
import os
import shutil
import sys
import types
from collections.abc import Callable

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from ..errors import InputError
from .attention import SourceAttention, self_attention_blocks

COMPILERS = ("g++", "clang++", "cl")
ANY_BLOCK = ""  # replaces the name of each block, so that code compiled for one block fits all similar ones


def compile_blocks(network: nn.Module, backend: str | Callable = "inductor") -> int:
    """Compile the transformer and residual blocks of a diffusers UNet or ControlNet in place.

    Results are the same up to rounding. A region (all blocks with weights of the same shapes) is compiled when the
    first of them is called; batch and picture sizes may vary. Hooks on blocks are not compiled and may be added later.
    backend: of torch.compile; the default needs a C++ compiler on a CPU.
    Returns the number of regions.
    """
    for name, block in self_attention_blocks(network).items():
        if isinstance(block.attn1.processor, SourceAttention) and block.attn1.processor.block != ANY_BLOCK:
            block.attn1.set_processor(SourceAttention(ANY_BLOCK))
            block.register_forward_pre_hook(functools.partial(_select_source, name), with_kwargs=True)
    regions: dict[tuple, Callable] = {}
    for block in network.modules():
        if not isinstance(block, (BasicTransformerBlock, ResnetBlock2D)) or "forward" in vars(block):
            continue
        shapes = tuple(tuple(weight.shape) for weight in block.parameters())
        if (key := (type(block), shapes)) not in regions:
            regions[key] = torch.compile(_copy_code(type(block).forward), backend=backend, dynamic=True)
        block.forward = functools.partial(regions[key], block)
    return len(regions)


def check_compiler(device: torch.device) -> None:
    """Raise InputError if torch.compile lacks a compiler for the device, or is of no use with this torch or Python."""
    if device.type == "cpu" and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), *COMPILERS)))):
        raise InputError("Compilation needs a C++ compiler on a CPU: install g++, or turn compilation off.")
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise InputError("Compilation needs triton on a GPU: pip install triton, or turn compilation off.")
    if torch.__version__ < "2.5":  # it tells modules apart by their identity, and after eight of them compiles no more
        raise InputError(
            f"torch {torch.__version__} compiles each block anew: update to torch 2.5, or turn compilation off."
        )
    if (3, 13) <= sys.version_info[:3] < (3, 13, 1):
        # python/cpython#125608: torch's guards miss changes of attributes, so a block keeps its clip or its weights.
        raise InputError(
            "With Python 3.13.0 compiled blocks give stale results: update to Python 3.13.1, or turn compilation off."
        )


def _copy_code(function: Callable) -> Callable:
    """Return a copy of a function with a separate code object: torch compiles each code object at most eight times."""
    code = function.__code__
    copy = types.FunctionType(
        code.replace(), function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _select_source(name: str, block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
    given = kwargs.get("cross_attention_kwargs") or {}
    source = given.get("source")
    if source is None:
        return None
    selected = source.select(name, ANY_BLOCK)
    return args, kwargs | {"cross_attention_kwargs": given | {"source": selected}}
