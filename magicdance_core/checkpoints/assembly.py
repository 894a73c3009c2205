"""Networks without weights are filled from a file: completely, or an error names what is wrong."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import torch
from torch import nn

from ..errors import InputError
from .roles import Role
from .tensors import Tensors

HARMLESS = re.compile(
    r"betas|(sqrt_|log_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|posterior_\w+|logvar|lvlb_weights|"
    r"(first_stage_model\.)?model_ema\..*|first_stage_model\.loss\..*|"
    r".*\.position_ids|cond_stage_model\..*(logit_scale|text_projection(\.weight)?)"
)
"""Tensors that Stable Diffusion files carry and no network here needs: the schedule's buffers and the like."""


DTypes: TypeAlias = torch.dtype | Mapping[str, torch.dtype] | None
"""Of all networks, or of each by its role (the file's own for one that is absent)."""


@dataclass(frozen=True)
class Part:
    """A network without weights, and where they are: `names` is parameter -> tensor of the file."""

    role: Role
    network: nn.Module
    names: dict[str, str]


def check(file: Tensors, parts: Iterable[Part], unused: Callable[[str], bool] = lambda name: False) -> None:
    """Raise InputError unless the file holds each parameter in its shape and nothing that is not understood.

    unused: says of a tensor's name that it may be left.
    """
    missing, misshaped, known = [], [], set()
    for part in parts:
        shapes = part.network.state_dict()
        for parameter, name in part.names.items():
            known.add(name)
            wanted = tuple(shapes[parameter].shape)
            if name not in file.shapes:
                missing.append(name)
            elif _core(file.shapes[name]) != _core(wanted):
                misshaped.append(f"{name} is {_sizes(file.shapes[name])} instead of {_sizes(wanted)}")
    extra = [name for name in file.shapes if name not in known and not HARMLESS.fullmatch(name) and not unused(name)]
    faults = [
        f"{len(names)} {fault} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for fault, names in (("missing", missing), ("mis-shaped", misshaped), ("extra", extra))
        if names
    ]
    if faults:
        titles = ", ".join(f"the {part.role.title}" for part in parts)
        raise InputError(
            f"{file.path} does not fit {titles}; tensors {' and '.join(faults)}: "
            "give a complete model made from Stable Diffusion 1.5."
        )


def fill(part: Part, file: Tensors, dtype: torch.dtype | None) -> nn.Module:
    """Give the network its weights in `dtype` (None: the widest that the file has for it), ready to predict.

    One tensor at a time, so that beside the network at most its own part of the file is in memory.
    """
    parameters = {name: parameter for parameter, name in part.names.items()}
    wanted, weights = part.network.state_dict(), {}
    for name, tensor in file.read(parameters):
        shape = wanted[parameters[name]].shape
        weights[parameters[name]] = tensor.to(dtype or tensor.dtype, copy=True).reshape(shape).contiguous()
    if dtype is None:
        widest = reduce(torch.promote_types, {weight.dtype for weight in weights.values()})
        weights = {name: weight.to(widest) for name, weight in weights.items()}
    computed = {name: buffer for name, buffer in wanted.items() if name not in part.names}  # files need not hold them
    weights |= {name: buffer.to(next(iter(weights.values())).dtype) for name, buffer in computed.items()}
    part.network.load_state_dict(weights, assign=True)
    return part.network.eval()


def dtype_of(dtypes: DTypes, role: str) -> torch.dtype | None:
    """The dtype of one network; None keeps the file's."""
    return dtypes.get(role) if isinstance(dtypes, Mapping) else dtypes


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A 1 x 1 convolution and a linear layer hold the same weights."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
