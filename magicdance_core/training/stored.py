"""What a run folder holds, checked when it is read: facts, log records, weights and optimizer states."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ..checkpoints.tensors import check_archive, checked_tensor
from ..checks import number
from ..errors import InputError
from ..files import existing_file
from ..schema import Configuration, setting

MAX_STEPS = 100_000_000
# The tensors that an optimizer keeps of each parameter; those of other optimizers are only checked to be finite.
OPTIMIZER_STATE = {"Muon": {"momentum"}, "AdamW": {"step", "exp_avg", "exp_avg_sq"}}


@dataclass(frozen=True)
class StateFacts(Configuration):
    """`state.json`: see `run_folder.State`."""

    step: int = setting(ge=1, le=MAX_STEPS)
    average_steps: int = setting(ge=0, le=MAX_STEPS)
    threads: int = setting(ge=1, le=65_536)


@dataclass(frozen=True)
class StageFacts(Configuration):
    """Facts in the metadata of a finished stage's weights. scaling_factor: of a VAE that it trained."""

    steps: int = setting(ge=1, le=MAX_STEPS)
    scaling_factor: float | None = setting(None, ge=1e-4, le=1e4)


def log_record(values: object) -> dict[str, Any]:
    """Return a record of the log: stage, step and finite numbers. Raises InputError for anything else."""
    if not isinstance(values, dict) or not isinstance(values.get("stage"), str):
        raise InputError("The record names no stage: remove it.")
    number(int, values.get("step"), "step", 0, MAX_STEPS)
    for name, value in values.items():
        if name not in ("stage", "step"):
            number(float, value, name)
    return values


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return tensors and metadata of a safetensors file. Raises InputError unless they are finite floats."""
    with safe_open(existing_file(path), framework="pt") as file:
        tensors = {name: checked_tensor(file.get_tensor(name), name, path) for name in file.keys()}
        return tensors, file.metadata() or {}


def read_optimizers(path: Path) -> list[dict[str, Any]]:
    """Return the state dicts in a file, as `torch.save` wrote them. Raises InputError if the file would not end."""
    check_archive(existing_file(path))
    return torch.load(path, map_location="cpu", weights_only=True)


def check_weights(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Raise InputError unless weights have the names and shapes of the wanted ones."""
    if differing := sorted(weights.keys() ^ wanted.keys()):
        raise InputError(f"{what} differ in {len(differing)} names, such as {differing[0]}")
    for name, weight in weights.items():
        if weight.shape != wanted[name].shape:
            raise InputError(f"{what}: {name} is {list(weight.shape)} instead of {list(wanted[name].shape)}")


def check_averages(averages: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    """Raise InputError unless there is an average in the shape of each parameter."""
    if [a.shape for a in averages] != [p.shape for p in parameters]:
        raise InputError("the averaged weights have other shapes than the network")


def check_optimizer(saved: object, optimizer: torch.optim.Optimizer) -> None:
    """Raise InputError unless a state dict has the groups of an optimizer and finite states for its parameters."""
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    states = saved.get("state") if isinstance(saved, dict) else None
    wanted = optimizer.state_dict()["param_groups"]
    if not (isinstance(groups, list) and isinstance(states, dict) and len(groups) == len(wanted)):
        raise InputError("the optimizer has other groups of parameters")
    if any(not isinstance(g, dict) or g.get("params") != w["params"] for g, w in zip(groups, wanted)):
        raise InputError("the optimizer has other groups of parameters")
    kind = type(optimizer).__name__
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, state in states.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(state, dict):
            raise InputError(f"the optimizer has a state of an unknown parameter ({index!r})")
        if state and kind in OPTIMIZER_STATE and state.keys() != OPTIMIZER_STATE[kind]:
            raise InputError(f"the optimizer's state of parameter {index} has other names than {kind} gives")
        for name, value in state.items():
            _check_value(value, f"{name} of parameter {index}", kind, parameters[index])


def _check_value(value: object, what: str, kind: str, parameter: Tensor) -> None:
    if not isinstance(value, Tensor):
        if kind in OPTIMIZER_STATE:
            raise InputError(f"the optimizer's {what} is no tensor")
        return
    if value.is_floating_point() and not value.isfinite().all():
        raise InputError(f"the optimizer's {what} is not finite")
    if kind in OPTIMIZER_STATE:
        counts = what.startswith("step ")
        if value.shape != (() if counts else parameter.shape) or not value.is_floating_point():
            raise InputError(f"the optimizer's {what} has another shape or dtype")
        if (counts or what.startswith("exp_avg_sq ")) and (value < 0).any():
            raise InputError(f"the optimizer's {what} is negative")
