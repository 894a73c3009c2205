"""Fill networks with the weights of a file; missing, extra and mis-shaped tensors are errors."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import torch
from diffusers import ModelMixin

from ..errors import InputError
from .roles import Role
from .tensors import Tensors

IGNORED = re.compile(
    r"betas|(sqrt_|log_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?|posterior_\w+|logvar|lvlb_weights|"
    r"(first_stage_model\.)?model_ema\..*|first_stage_model\.loss\..*|"
    r".*\.position_ids|cond_stage_model\..*(logit_scale|text_projection(\.weight)?)"
)
"""Tensors of Stable Diffusion files that no network here needs: buffers of the schedule and the like."""

MAX_REMARKED = 4  # unknown numbers and lists of numbers, such as counters, in a file that is complete otherwise


DTypes: TypeAlias = torch.dtype | Mapping[str, torch.dtype] | None
"""The dtype of all networks, or of each by role (a role that is absent keeps the file's dtype)."""


@dataclass(frozen=True)
class Part:
    """A network without weights, and the names of its tensors in the file: parameter -> tensor."""

    role: Role
    network: ModelMixin
    names: dict[str, str]


def check(file: Tensors, parts: Iterable[Part], unused: Callable[[str], bool] = lambda name: False) -> None:
    """Raise InputError unless the file has each parameter in its shape and no unknown tensors.

    A few unknown numbers (`global_step`, `denoiser.sigmas`) in a complete file are ignored with a warning.

    unused: returns whether a tensor of this name may be ignored.
    """
    missing, misshaped, known = [], [], set()
    for part in parts:
        shapes = part.network.state_dict()
        for parameter, name in part.names.items():
            known.add(name)
            wanted = tuple(shapes[parameter].shape)
            if name not in file.shapes:
                missing.append(name)
            elif _squeezed(file.shapes[name]) != _squeezed(wanted):
                misshaped.append(f"{name} is {_sizes(file.shapes[name])} instead of {_sizes(wanted)}")
    extra = [name for name in file.shapes if name not in known and not IGNORED.fullmatch(name) and not unused(name)]
    if (
        extra
        and not missing
        and not misshaped
        and len(extra) <= MAX_REMARKED
        and all(len(file.shapes[name]) < 2 for name in extra)
    ):
        logging.warning("%s has tensors of no known network, which are ignored: %s.", file.path, ", ".join(extra))
        extra = []
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


def fill(part: Part, file: Tensors, dtype: torch.dtype | None) -> ModelMixin:
    """Load the weights of a network in `dtype` (None: the widest of its tensors) and return it in evaluation mode.

    Tensors are read one at a time, so that at most the network and its part of the file are in memory.
    """
    parameters = {name: parameter for parameter, name in part.names.items()}
    wanted, weights = part.network.state_dict(), {}
    for name, tensor in file.read(parameters):
        shape = wanted[parameters[name]].shape
        weights[parameters[name]] = tensor.to(dtype or tensor.dtype, copy=True).reshape(shape).contiguous()
    if dtype is None:
        widest = reduce(torch.promote_types, {weight.dtype for weight in weights.values()})
        weights = {name: weight.to(widest) for name, weight in weights.items()}
    computed = {name: buffer for name, buffer in wanted.items() if name not in part.names}  # need not be in the file
    weights |= {name: buffer.to(next(iter(weights.values())).dtype) for name, buffer in computed.items()}
    part.network.load_state_dict(weights, assign=True)
    return part.network.eval()


def dtype_of(dtypes: DTypes, role: str) -> torch.dtype | None:
    """Return the dtype for one network; None keeps the file's."""
    return dtypes.get(role) if isinstance(dtypes, Mapping) else dtypes


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape without trailing 1 x 1: a 1 x 1 convolution and a linear layer have the same weights."""
    return shape[:2] if shape[2:] == (1, 1) else shape


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
