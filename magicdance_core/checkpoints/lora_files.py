"""Read LoRAs for Stable Diffusion 1.5 as its trainers save them, merge them into a model, and save the trainer's.

Names of kohya's sd-scripts (`lora_unet_..._to_q.lora_down.weight`, with `alpha`), of diffusers
(`unet....to_q.lora.down.weight`) and of PEFT (`....lora_A.weight`); ComfyUI and diffusers read the first, which is what
`save_lora` writes.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import number
from ..errors import InputError
from ..files import as_path, atomic_write
from .components import Components
from .motion_files import MAX_STRENGTH
from .names import pose_names, unet_names
from .roles import ROLES
from .tensors import TensorFile, write_tensors
from .text_encoder import encode_empty_prompt

METADATA = "magicdance_network"
"""Key in a file's metadata: which of NETWORKS the LoRA is for; without it "unet", as in all other files."""
NETWORKS = ("unet", "appearance", "pose")
_FACTOR = re.compile(r"(?P<layer>.+?)[._]lora[._](?P<side>down|up|A|B)\.weight")
_SIDES = {"A": "down", "B": "up"}
_PREFIXES = {"unet": ("lora_unet_", "unet_", ""), "text_encoder": ("lora_te_", "lora_te1_", "text_encoder_")}
_OTHER_KINDS = {"hada_w": "a LoHa", "lokr_w": "a LoKr", "dora_scale": "a DoRA", "lora_mid": "a LoCon with CP"}

Change = tuple[Tensor, Tensor, float]
"""up `[out, rank, ...]`, down `[rank, in, ...]` and the factor of their product."""


def save_lora(
    path: str | Path, network: str, pairs: Mapping[str, tuple[Tensor, Tensor]], dtype: torch.dtype = torch.float32
) -> None:
    """Save the LoRA of a UNet, an appearance network or a ControlNet as safetensors with kohya's names.

    network: "unet", "appearance" or "pose". pairs: name of a weight -> (up `[out, rank]`, down `[rank, in]`), of
    convolutions `[out, rank, 1, 1]` and `[rank, in, h, w]`.
    """
    tensors = {}
    for name, (up, down) in pairs.items():
        layer = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        tensors |= {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down}
        tensors[f"{layer}.alpha"] = torch.tensor(float(len(down)))
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
    with atomic_write(path, sum(tensor.nbytes for tensor in tensors.values())) as part:
        write_tensors(part, tensors, {METADATA: network})


@torch.no_grad()
def merge_weight_lora(path: str | Path, strength: float, model: Components) -> None:
    """Merge a LoRA into a model's UNet and text encoder, or into the network that its metadata names.

    The embedding of the empty prompt follows the text encoder; without one, changes of it are left out, and the log
    says so. Raises InputError for other files, for changes that fit no weight, and for a strength that is not finite;
    nothing is changed then.
    """
    strength = number(float, strength, f"The strength of {path}", -MAX_STRENGTH, MAX_STRENGTH)
    for role, changes in weight_changes(path, model).items():
        network = getattr(model, role)
        weights = network.state_dict()
        for name, change in changes.items():
            product = _product(change, weights[name].shape)
            weights[name].copy_(weights[name].float() + strength * product.to(weights[name].device))
        if role == "text_encoder":
            model.context = encode_empty_prompt(network)


def weight_changes(path: str | Path, model: Components) -> dict[str, dict[str, Change]]:
    """Return what a LoRA changes of a model: role -> name of a weight -> its change. Raises InputError as
    `merge_weight_lora` does."""
    file = TensorFile(as_path(path))
    changes = _read(file)
    role = file.metadata.get(METADATA, "unet")
    if role not in NETWORKS:
        raise InputError(f"{path} is a LoRA for the network {role!r}, which no model has: give one for a UNet.")
    if (network := getattr(model, role)) is None:
        raise InputError(f"{path} is a LoRA for the {ROLES[role].title}, and the model has none: leave it out.")
    tables = {role: _table(network, pose_names if role == "pose" else unet_names)}
    if model.text_encoder is not None:
        tables["text_encoder"] = _text_table(model.text_encoder)
    weights = {owner: getattr(model, owner).state_dict() for owner in tables}
    found: dict[str, dict[str, Change]] = {}
    without_text = 0
    for layer, change in changes.items():
        place = _find(layer, tables)
        if place is None and _is_text(layer):
            without_text += 1
            continue
        if place is None:
            raise InputError(f"{path} does not fit the model, which has no {layer}: give a LoRA for this model.")
        owner, name = place
        if not _fits(change, weights[owner][name].shape):
            raise InputError(
                f"{path} does not fit the model, whose {layer} has another shape: give a LoRA for this model."
            )
        found.setdefault(owner, {})[name] = change
    if without_text:
        logging.warning("%s also changes a text encoder, which the model does not have; this is left out.", path)
    return found


def with_loras(model: Components, files: Sequence[tuple[str | Path, float]]) -> Components:
    """Return a model with LoRAs, given with their strengths, merged into copies of the networks that they change.

    Raises InputError as `merge_weight_lora` does.
    """
    changed = {role for file, _ in files for role in weight_changes(file, model)}
    copies: dict[str, Any] = {role: _copy(role, getattr(model, role)) for role in changed}
    model = replace(model, **copies)
    for file, strength in files:
        merge_weight_lora(file, strength, model)
    return model


def _copy(role: str, network: Any) -> nn.Module:
    if role == "text_encoder":
        return deepcopy(network)
    copied = ROLES[role].build(dict(network.config))  # copies of compiled blocks would run the originals
    weights = {name: weight.clone() for name, weight in network.state_dict().items()}
    copied.load_state_dict(weights, assign=True)
    return copied.eval().requires_grad_(False)


def _read(file: TensorFile) -> dict[str, Change]:
    """Return layer, with underscores for dots -> its change. Raises InputError if the file is no LoRA."""
    if kind := next((kind for part, kind in _OTHER_KINDS.items() if any(part in name for name in file.shapes)), None):
        raise InputError(f"{file.path} is {kind}, which is not supported: merge it into the model with its own tool.")
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in file.read(file.shapes):
        if match := _FACTOR.fullmatch(name):
            layer, side = match["layer"], _SIDES.get(match["side"], match["side"])
        elif name.endswith(".alpha"):
            layer, side = name.removesuffix(".alpha"), "alpha"
        else:
            raise InputError(f"{file.path} is not a LoRA for Stable Diffusion 1.5: it has the tensor {name}.")
        layer = layer.replace(".processor.", ".").replace(".", "_")
        factors.setdefault(layer, {})[side] = tensor.float()
    changes = {}
    for layer, sides in factors.items():
        up, down = sides.get("up"), sides.get("down")
        if up is None or down is None or min(up.dim(), down.dim()) < 2 or up.shape[1] != down.shape[0]:
            raise InputError(f"{file.path} is damaged, as its change of {layer} is incomplete: download it again.")
        changes[layer] = up, down, float(sides["alpha"]) / len(down) if "alpha" in sides else 1.0
    if not changes:
        raise InputError(f"{file.path} is empty: give a LoRA for Stable Diffusion 1.5.")
    return changes


def _table(network: nn.Module, published: Callable[[nn.Module], dict[str, str]]) -> dict[str, str]:
    """Return the names of a network's weights by diffusers' and the published names, with underscores for dots."""
    names, table = published(network), {}
    for name in filter(lambda name: name.endswith(".weight"), network.state_dict()):
        for known in (name, names[name], name.replace(".to_out.0.", ".to_out.")):  # the last of old diffusers
            table[known.removesuffix(".weight").replace(".", "_")] = name
    return table


def _text_table(text_encoder: nn.Module) -> dict[str, str]:
    return {
        "text_model_" + name.removeprefix("text_model.").removesuffix(".weight").replace(".", "_"): name
        for name in text_encoder.state_dict()
        if name.endswith(".weight")
    }


def _is_text(layer: str) -> bool:
    return layer.startswith(_PREFIXES["text_encoder"])


def _find(layer: str, tables: Mapping[str, Mapping[str, str]]) -> tuple[str, str] | None:
    """Return the role and the name of a layer's weight."""
    for role, table in tables.items():
        for prefix in _PREFIXES["text_encoder" if role == "text_encoder" else "unet"]:
            if layer.startswith(prefix) and (name := table.get(layer.removeprefix(prefix))) is not None:
                return role, name
    return None


def _fits(change: Change, shape: torch.Size) -> bool:
    up, down, _ = change
    return len(up) == shape[0] and down[0].numel() == shape[1:].numel()


def _product(change: Change, shape: torch.Size) -> Tensor:
    """Return the change of a weight, in its shape, float32."""
    up, down, factor = change
    return (factor * torch.einsum("or,r...->o...", up.flatten(1), down)).reshape(shape)
