"""Load and save diffusers folders: ours, and stock Stable Diffusion 1.5 (load only)."""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from transformers import CLIPTextModel

from .. import files
from ..errors import InputError
from ..files import as_path, atomic_folder
from ..schedule import published_scheduler
from .assembly import DTypes, Part, check, dtype_of, fill
from .components import Components, prediction_type, read_context, scheduler_from_config
from .configuration import defaults
from .other_kinds import IMAGE_VARIATIONS, refuse_other_kinds
from .roles import ROLES, Role
from .tensors import TensorFile, Tensors, write_tensors
from .text_encoder import encode_empty_prompt

EMPTY_PROMPT = "empty_prompt.safetensors"
INDEX = "model_index.json"
PIPELINE_CLASS = "MagicDancePipeline"
# STEM[-SHARD-of-COUNT][.VARIANT].SUFFIX; some programs write the shard behind the variant.
WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|model|pytorch_model)(?P<shard>-\d+-of-\d+)?(?P<variant>\.\w+)?(?P<later>-\d+-of-\d+)?"
    r"\.(?P<suffix>safetensors|bin)"
)
# The first that is there is taken. Weights that are no averages of the training are worse and come last.
VARIANTS = ("", ".fp32", ".ema", ".fp16", ".bf16", ".non_ema")
SUFFIXES = ("safetensors", "bin")
OLD_VAE_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # before diffusers 0.17


def save_folder(path: str | Path, components: Components, dtype: torch.dtype | None = None) -> None:
    """Save a model as a diffusers folder in `dtype` (None: unchanged), replacing an existing model folder.

    Raises InputError if it cannot be written; nothing is left behind then.
    """
    path = as_path(path)
    networks = [(ROLES[name], network) for name, network in components.networks().items()]
    index = {"_class_name": PIPELINE_CLASS, "defaults": components.defaults}
    index |= {role.folder: [role.library, type(network).__name__] for role, network in networks}
    index["scheduler"] = ["diffusers", type(components.scheduler).__name__]
    size = sum(
        weight.numel() * (dtype or weight.dtype).itemsize
        for _, network in networks
        for weight in network.state_dict().values()
    )
    with atomic_folder(path, size, replaces=INDEX) as temporary:
        for role, network in networks:
            _save_network(temporary / role.folder, role, network, dtype)
        components.scheduler.save_pretrained(temporary / "scheduler")
        if components.text_encoder is None:
            write_tensors(temporary / EMPTY_PROMPT, {"context": components.context.float()})
        (temporary / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def load_folder(path: str | Path, dtype: DTypes = None, controls: bool = True) -> Components:
    """Load a model from a folder written by `save_folder`, or from a stock Stable Diffusion 1.5 folder.

    dtype: of all networks or of each by role; None keeps that of the files. controls: False skips the controls; those
    that the folder lacks are None. A stock folder gets the published scheduler with the folder's prediction type.
    Raises InputError that names what is missing or does not fit.
    """
    path = as_path(path)
    if not os.path.isdir(path):  # isdir never raises
        raise InputError(f"{path} is not a folder: give one written by save_pretrained.")
    if (path / "image_encoder").is_dir() and not (path / ROLES["text_encoder"].folder).is_dir():
        raise InputError(f"{path} {IMAGE_VARIATIONS}")
    networks = {}
    for name, role in ROLES.items():
        needed = (
            role.required and role.samples and not role.control
        )  # a saved empty prompt can replace the text encoder
        if needed or (path / role.folder).is_dir() and (controls or not role.control):
            networks[name] = load_network(path / role.folder, name, dtype_of(dtype, name))
    index = read_json(path / INDEX)
    schedule, where = read_json(file := path / "scheduler" / "scheduler_config.json"), str(file)
    own = index.get("_class_name") == PIPELINE_CLASS
    return Components(
        **networks,
        scheduler=scheduler_from_config(schedule, where)
        if own
        else published_scheduler(prediction_type(schedule, where)),
        context=_context(path, networks.get("text_encoder")),
        defaults=defaults(index.get("defaults"), f"{path / INDEX}: defaults"),
    ).check(str(path))


def load_network(path: str | Path, role: str, dtype: torch.dtype | None = None) -> ModelMixin:
    """Load one network from its folder (`config.json` and weights) or from a model's folder.

    role: a name in `ROLES`. Raises InputError that names what is missing or does not fit.
    """
    path, row = as_path(path), ROLES[role]
    if (path / row.folder).is_dir():
        path /= row.folder
    config, where = read_json(path / "config.json"), f"{path / 'config.json'}"
    file = TensorFile(*weight_files(path))
    refuse_other_kinds(file.shapes, path)
    network = row.build(config, where)
    part = Part(row, network, _names_in_file(row, network, file))
    ignored = set(ROLES[row.stored_as].build(config, where).state_dict()) if row.stored_as else set()
    check(file, [part], ignored.__contains__)
    return fill(part, file, dtype)


def _save_network(path: Path, role: Role, network: ModelMixin, dtype: torch.dtype | None) -> None:
    weights = {name: weight.to("cpu", dtype) for name, weight in network.state_dict().items()}
    path.mkdir(parents=True)
    if role.library == "transformers":
        network.config.save_pretrained(path)
        weights = {f"text_model.{name.removeprefix('text_model.')}": weight for name, weight in weights.items()}
    else:
        network.save_config(path)
    write_tensors(path / f"{role.weights}.safetensors", weights)


def weight_files(path: Path) -> list[Path]:
    """Return the tensor files of a network's folder: one, or all shards of one.

    Of several variants the one with the highest precision is taken, and safetensors before pickles. Raises InputError
    if there are none, or a shard is missing.
    """
    found: dict[tuple[bool, int, int, int], list[Path]] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else ():
        match = WEIGHTS.fullmatch(file.name)
        if match and (match["variant"] or "") in VARIANTS:
            variant, suffix = VARIANTS.index(match["variant"] or ""), SUFFIXES.index(match["suffix"])
            count = int((match["shard"] or match["later"] or "-1-of-0").rpartition("-")[2])
            found.setdefault((variant == len(VARIANTS) - 1, suffix, variant, count), []).append(file)
    if not found:
        raise InputError(f"{path} has no weights (diffusion_pytorch_model.safetensors): copy the whole model folder.")
    (_, _, _, count), files = min(found.items())
    if count and len(files) != count:
        raise InputError(f"{path} has {len(files)} of {count} files of weights ({files[0].name}): copy the others.")
    return files


def _names_in_file(role: Role, network: ModelMixin, file: Tensors) -> dict[str, str]:
    if role.library == "transformers":
        prefix = "text_model." if any(name.startswith("text_model.") for name in file.shapes) else ""
        return {name: prefix + bare for name, bare in role.names(network).items()}
    renamed = {name: name for name in network.state_dict()}
    if "encoder.mid_block.attentions.0.query.weight" in file.shapes:
        for ours, old in OLD_VAE_NAMES.items():
            renamed = {name: stored.replace(f".{ours}.", f".{old}.") for name, stored in renamed.items()}
    return renamed


def _context(path: Path, text_encoder: CLIPTextModel | None) -> torch.Tensor:
    if text_encoder is not None:
        return encode_empty_prompt(text_encoder)
    return read_context(TensorFile(path / EMPTY_PROMPT), "context")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises InputError if it is missing or damaged."""
    if not path.exists():
        raise InputError(f"{path} is missing: give a complete model folder.")
    values = files.read_json(path, "a complete model folder")
    if not isinstance(values, dict):
        raise InputError(f"{path} is not a JSON object: copy the model folder again.")
    return values
