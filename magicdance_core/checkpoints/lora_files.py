"""Read LoRAs for Stable Diffusion 1.5 as its trainers save them, merge them into a model, and save the trainer's.

Names of kohya's sd-scripts (`lora_unet_..._to_q.lora_down.weight`, with `alpha`), of diffusers
(`unet....to_q.lora.down.weight`) and of PEFT (`....lora_A.weight`); ComfyUI and diffusers read the first, which is what
`save_lora` writes.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checks import number
from ..errors import InputError
from ..files import as_path, atomic_write
from .components import Components
from .motion_files import MAX_STRENGTH
from .names import unet_names
from .tensors import TensorFile, write_tensors
from .text_encoder import encode_empty_prompt

METADATA = "magicdance_network"
"""Key in a file's metadata: the network that the LoRA is for, "unet" (as in all other files) or "appearance"."""
_FACTOR = re.compile(r"(?P<layer>.+?)[._]lora[._](?P<side>down|up|A|B)\.weight")
_SIDES = {"A": "down", "B": "up"}
_PREFIXES = {"unet": ("lora_unet_", "unet_", ""), "text_encoder": ("lora_te_", "lora_te1_", "text_encoder_")}
_OTHER_KINDS = {"hada_w": "a LoHa", "lokr_w": "a LoKr", "dora_scale": "a DoRA", "lora_mid": "a LoCon with CP"}

Change = tuple[Tensor, Tensor, float]
"""up `[out, rank, ...]`, down `[rank, in, ...]` and the factor of their product."""


def save_lora(path: str | Path, network: str, pairs: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Save the LoRA of a UNet or an appearance network as safetensors with kohya's names.

    network: "unet" or "appearance". pairs: name of a weight -> (up `[out, rank]`, down `[rank, in]`).
    """
    tensors = {}
    for name, (up, down) in pairs.items():
        layer = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        tensors |= {f"{layer}.lora_up.weight": up, f"{layer}.lora_down.weight": down}
        tensors[f"{layer}.alpha"] = torch.tensor(float(len(down)))
    tensors = {name: tensor.detach().to("cpu", torch.float32).contiguous() for name, tensor in tensors.items()}
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
    file = TensorFile(as_path(path))
    changes = _read(file)
    role = file.metadata.get(METADATA, "unet")
    if role not in ("unet", "appearance"):
        raise InputError(f"{path} is a LoRA for the network {role!r}, which no model has: give one for a UNet.")
    if (unet := getattr(model, role)) is None:
        raise InputError(f"{path} is a LoRA for the Appearance Control Model, and the model has none: leave it out.")
    tables = {"unet": _table(unet)}
    if model.text_encoder is not None:
        tables["text_encoder"] = _text_table(model.text_encoder)
    found, texts = [], 0
    for layer, change in changes.items():
        weight = _find(layer, tables)
        if weight is None and _is_text(layer):
            texts += 1
            continue
        if weight is None:
            raise InputError(f"{path} does not fit the model, which has no {layer}: give a LoRA for this model.")
        found.append((weight, _product(change, weight, path, layer)))
    if texts:
        logging.warning("%s also changes a text encoder, which the model does not have; this is left out.", path)
    for weight, product in found:
        weight.copy_(weight.float() + strength * product.to(weight.device))
    if model.text_encoder is not None and any(map(_is_text, changes)):
        model.context = encode_empty_prompt(model.text_encoder)


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


def _table(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a UNet by diffusers' and the published names, with underscores for dots."""
    state, published, table = network.state_dict(), unet_names(network), {}
    for name in filter(lambda name: name.endswith(".weight"), state):
        for known in (name, published[name], name.replace(".to_out.0.", ".to_out.")):  # the last of old diffusers
            table[known.removesuffix(".weight").replace(".", "_")] = state[name]
    return table


def _text_table(text_encoder: nn.Module) -> dict[str, Tensor]:
    state = text_encoder.state_dict()
    return {
        "text_model_" + name.removeprefix("text_model.").removesuffix(".weight").replace(".", "_"): weight
        for name, weight in state.items()
        if name.endswith(".weight")
    }


def _is_text(layer: str) -> bool:
    return layer.startswith(_PREFIXES["text_encoder"])


def _find(layer: str, tables: Mapping[str, Mapping[str, Tensor]]) -> Tensor | None:
    for role, table in tables.items():
        for prefix in _PREFIXES[role]:
            if layer.startswith(prefix) and (weight := table.get(layer.removeprefix(prefix))) is not None:
                return weight
    return None


def _product(change: Change, weight: Tensor, path: object, layer: str) -> Tensor:
    """Return the change of a weight, in its shape, float32. Raises InputError if it has another."""
    up, down, factor = change
    product = factor * torch.einsum("or,r...->o...", up.flatten(1), down)
    if product.numel() != weight.numel() or len(product) != len(weight):
        raise InputError(f"{path} does not fit the model, whose {layer} has another shape: give a LoRA for this model.")
    return product.reshape(weight.shape)
