"""Digests by which an interrupted run is known again, also after ComfyUI was started anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy.model_patcher import ModelPatcher
    from torch import Tensor

    from ..link_types import MagicDanceModel

TAKEN = 64  # values of each weight: a LoRA or a merge changes nearly all of them


def of_tensors(tensors: Iterable[Tensor | None]) -> str:
    """Return a digest of tensors of any dtype and device, all values of them."""
    import torch

    digest = hashlib.sha256()
    for tensor in tensors:
        if tensor is None:
            digest.update(b"none")
            continue
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{list(values.shape)}".encode())
        digest.update(values.numpy())
    return digest.hexdigest()[:16]


def of_model(model: MagicDanceModel) -> str:
    """Return a digest of a model's networks: of names, shapes, dtypes and some values of each weight, and of LoRAs that
    ComfyUI adds on loading."""
    digest = hashlib.sha256()
    for role in ("unet", "vae", "appearance", "pose", "motion"):
        held = getattr(model, role)
        digest.update(role.encode())
        if held is None:
            continue
        for name, weight in held.model.state_dict().items():
            digest.update(f"{name} {list(weight.shape)} {weight.dtype}".encode())
            if name in held.patches:  # added in place while the network is loaded
                _add(digest, held.patches[name])
            else:
                _add(digest, _unpatched(held, name, weight))
    return digest.hexdigest()[:16]


def of_settings(settings: dict) -> str:
    """Return a digest of settings that JSON can hold."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _unpatched(held: ModelPatcher, name: str, weight: Tensor) -> Tensor:
    """Return a weight without the LoRAs of another clone, which stay in it until the network is loaded again."""
    kept = getattr(held, "backup", {}).get(name)
    return weight if kept is None else getattr(kept, "weight", kept)


def _add(digest, value: object) -> None:
    """Add some values of a tensor, or all parts of a patch: tuples, lists, numbers, and adapters of a LoRA."""
    import torch

    if isinstance(value, torch.Tensor):
        flat = value.detach().flatten()
        digest.update(flat[:: max(1, len(flat) // TAKEN)].to("cpu", torch.float32).contiguous().numpy())
    elif isinstance(value, (list, tuple)):
        for part in value:
            _add(digest, part)
    elif hasattr(value, "weights"):  # comfy.weight_adapter's
        _add(digest, value.weights)
    else:
        digest.update(repr(value).encode())
