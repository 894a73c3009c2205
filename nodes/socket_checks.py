"""What a value on a link of each type must be.

ComfyUI checks the names of types only, when nodes are connected: a bypassed node gives None, nodes of other packs have
outputs of any type, and some give objects of their own where another pack expects ComfyUI's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..magicdance_core.errors import InputError
from .comfy import memory
from .link_types import (
    APPEARANCE_TYPE,
    CONTEXT_TYPE,
    MODEL_TYPE,
    MOTION_TYPE,
    REGIONS_TYPE,
    SPEED_TYPE,
    ContextOptions,
    MagicDanceModel,
    Motion,
    RegionInput,
)


def check_sockets(node: Any, values: dict[str, Any]) -> None:
    """Raise InputError for a value that is no value of its socket's type; optional sockets may have none.

    Sizes and ranges are checked where values are converted (`socket_values`), families of models in `comfy.conversion`.
    """
    types = node.INPUT_TYPES()
    for name, (kind, _) in (types["required"] | types.get("optional", {})).items():
        value = values.get(name)
        if not isinstance(kind, str) or kind not in KINDS or (value is None and name not in types["required"]):
            continue
        if not KINDS[kind](value):
            article = "an" if kind[0] in "AI" else "a"
            raise InputError(f"`{name}` is not {article} {kind}: connect an output of type {kind}.")


def _is_tensor(*dimensions: int) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        import torch

        if not isinstance(value, torch.Tensor) or value.dim() not in dimensions:
            return False
        return value.layout == torch.strided and not (value.is_meta or value.is_quantized or value.is_complex())

    return check


def _is_shortcuts(value: object) -> bool:
    from ..magicdance_core.sampling import Shortcuts

    return isinstance(value, Shortcuts)


def _is_regions(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(region, RegionInput) for region in value)


def _has(*names: str) -> Callable[[object], bool]:
    """Return a check for attributes. Packs replace ComfyUI's classes by their own, so that these alone are certain."""

    def check(value: object) -> bool:
        return not isinstance(value, type) and all(getattr(value, name, None) is not None for name in names)

    return check


def _is_model(value: Any) -> bool:
    return _has("get_model_object", "clone", "model")(value) and hasattr(value.model, "model_config")


KINDS: dict[str, Callable[[Any], bool]] = {
    "IMAGE": _is_tensor(4),
    "MASK": _is_tensor(2, 3),
    "LATENT": lambda value: isinstance(value, dict),
    "CONDITIONING": lambda value: isinstance(value, list),
    "AUDIO": lambda value: isinstance(value, Mapping),
    "VIDEO": _has("get_stream_source", "get_duration", "save_to"),
    "MODEL": _is_model,
    "VAE": _has("get_sd", "encode"),
    "CLIP": _has("tokenize", "encode_from_tokens", "cond_stage_model", "patcher"),
    MODEL_TYPE: lambda value: isinstance(value, MagicDanceModel),
    MOTION_TYPE: lambda value: isinstance(value, Motion),
    CONTEXT_TYPE: lambda value: isinstance(value, ContextOptions),
    SPEED_TYPE: _is_shortcuts,
    REGIONS_TYPE: _is_regions,
    APPEARANCE_TYPE: memory.is_held,
}
