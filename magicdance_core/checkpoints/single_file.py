"""Load and save single files: the published layout, Stable Diffusion 1.x checkpoints, bare ControlNets."""

import json
from pathlib import Path

import torch
from diffusers import ModelMixin

from ..errors import InputError
from ..files import as_path, atomic_write
from ..schedule import published_scheduler
from .architecture import has_diffusers_names
from .assembly import DTypes, Part, check, dtype_of, fill
from .components import Components, read_context, scheduler_from_config
from .configuration import defaults
from .other_kinds import refuse_other_kinds
from .roles import ROLES, Role
from .tensors import TensorFile, Tensors, TensorsInMemory, metadata, write_tensors
from .text_encoder import encode_empty_prompt

CONTEXT = "empty_prompt"  # tensor that we add for models without a text encoder
METADATA = "magicdance"  # key of the configurations, as JSON, in files that we write


def load_published(path: str | Path, dtype: DTypes = None) -> Components:
    """Load a complete model from a file in the published layout (`model_state-110000.th`, or converted).

    dtype: of all networks or of each by role; None keeps that of the file.
    Raises InputError that names missing, extra and mis-shaped tensors, or the kind of file that it is instead.
    """
    file = TensorFile(as_path(path))
    found = find_networks(file)
    appearance = ROLES["appearance"].prefix
    if found.get("appearance", appearance) != appearance:
        raise InputError(
            f"{path} is a stage-1 file (appearance pretraining, without a Pose ControlNet): "
            "give the stage-2 file (model_state-110000.th) or load its Appearance Control Model alone."
        )
    return _load(file, found, dtype, required=[name for name, role in ROLES.items() if role.required])


def load_file(path: str | Path, dtype: DTypes = None, controls: bool = True) -> Components:
    """Load UNet, VAE and text encoder of any Stable Diffusion 1.x checkpoint, and the controls that it has.

    controls: False skips the controls.
    Raises InputError that names missing, extra and mis-shaped tensors.
    """
    file = TensorFile(as_path(path))
    found = find_networks(file)
    skipped: tuple[str, ...] = ()
    if not controls:
        skipped = tuple(found.pop(name) for name, role in ROLES.items() if role.control and name in found)
    required = [name for name, role in ROLES.items() if role.required and not role.control]
    return _load(file, found, dtype, required, skipped)


def load_file_network(path: str | Path, role: str, dtype: torch.dtype | None = None) -> ModelMixin:
    """Load one network of a file. role: "appearance" (stage-1 or stage-2 file) or "pose" (also a bare ControlNet)."""
    file = TensorFile(as_path(path))
    return fill(_checked_parts(file, [role])[role], file, dtype)


def read_tensors(path: str | Path, roles: list[str]) -> dict[str, dict[str, torch.Tensor]]:
    """Return the stored tensors of some networks, for other programs: role -> published name without prefix -> tensor.

    The tensors are memory-mapped. Raises InputError that names missing and mis-shaped ones.
    """
    file = TensorFile(as_path(path))
    found, tensors = find_networks(file), {}
    for role, part in _checked_parts(file, roles).items():
        read = file.read(part.names.values())
        tensors[role] = {name.removeprefix(found[role]): tensor for name, tensor in read}
    return tensors


def load_tensors(
    tensors: dict[str, torch.Tensor], role: str, source: str, dtype: torch.dtype | None = None
) -> ModelMixin:
    """Load a network from tensors in memory with published names without prefix. source: their origin, in messages."""
    file = TensorsInMemory(source, tensors)
    part = _part(file, ROLES[role], "")
    check(file, [part])
    return fill(part, file, dtype)


def save_published(path: str | Path, components: Components, dtype: torch.dtype | None = None) -> None:
    """Save a model as a safetensors file in the published layout, without the tensors that influence nothing.

    Configurations (for groups, heads, prediction type, schedule, which shapes do not show) are in the file's metadata.
    """
    path = as_path(path)
    tensors = {} if components.text_encoder is not None else {CONTEXT: components.context}
    saved = {"scheduler": _json(components.scheduler), "defaults": components.defaults}
    for name, network in components.networks().items():
        role, weights = ROLES[name], network.state_dict()
        saved[name] = _json(network.config if role.library == "transformers" else network)
        for parameter, inside in role.names(network).items():
            weight = weights[parameter].to("cpu", dtype)
            attention = ".attn_1." in inside and weight.dim() == 2  # of the VAE, stored as 1 x 1 convolutions
            tensors[role.prefix + inside] = weight[:, :, None, None] if attention else weight
    size = sum(tensor.nbytes for tensor in tensors.values())
    with atomic_write(path, size) as temporary:
        write_tensors(temporary, tensors, {METADATA: json.dumps(saved)})


def find_networks(file: Tensors) -> dict[str, str]:
    """Return the networks of a file: role -> prefix of its tensors."""

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in file.shapes)

    found = {}
    for name, role in ROLES.items():
        prefixes = [prefix for mark, prefix in {role.prefix: role.prefix, **role.also}.items() if has(mark)]
        if prefixes:
            found[name] = prefixes[0]
    return found


def _require(file: Tensors, found: dict[str, str], role: str) -> str:
    if role not in found:
        inside = " and ".join(f"the {ROLES[name].title}" for name in found) or "no known network"
        raise InputError(f"{file.path} lacks the {ROLES[role].title} (it has {inside}): give a file that has it.")
    return found[role]


def _load(
    file: Tensors,
    found: dict[str, str],
    dtype: DTypes,
    required: list[str],
    skipped: tuple[str, ...] = (),
) -> Components:
    if CONTEXT in file.shapes:
        required.remove("text_encoder")
    for role in required:
        _require(file, found, role)
    parts = {name: _part(file, ROLES[name], prefix) for name, prefix in found.items()}
    unused = set().union(*(_unused_names(part, found[name]) for name, part in parts.items()))
    check(file, parts.values(), lambda name: name == CONTEXT or name.startswith(skipped) or name in unused)
    networks = {role: fill(part, file, dtype_of(dtype, role)) for role, part in parts.items()}
    text_encoder = networks.get("text_encoder")
    if text_encoder is None:
        context = read_context(file, CONTEXT)
    else:
        context = encode_empty_prompt(text_encoder)
    saved = _saved(file)
    return Components(
        **networks,
        scheduler=scheduler_from_config(saved.get("scheduler"), f"{file.path}: scheduler")
        if saved
        else published_scheduler(),
        context=context,
        defaults=defaults(saved.get("defaults"), f"{file.path}: defaults"),
    ).check(str(file.path))


def _checked_parts(file: Tensors, roles: list[str]) -> dict[str, Part]:
    """Return some networks of a file, checked to be complete; other tensors are ignored."""
    found = find_networks(file)
    if "unet" not in found:  # a whole model may have further parts
        refuse_other_kinds(file.shapes, file.path)
    parts = {role: _part(file, ROLES[role], _require(file, found, role)) for role in roles}
    prefixes = tuple(found[role] for role in roles)
    unused = set().union(*(_unused_names(part, found[role]) for role, part in parts.items()))
    check(file, parts.values(), lambda name: not name.startswith(prefixes) or name in unused)
    return parts


def _part(file: Tensors, role: Role, prefix: str) -> Part:
    shapes = {name.removeprefix(prefix): shape for name, shape in file.shapes.items() if name.startswith(prefix)}
    try:
        config = _saved(file).get(role.name) or role.config(shapes)
    except KeyError as error:
        raise InputError(
            f"{file.path} is incomplete, its {role.title} lacks {prefix}{error.args[0]}: download it again."
        ) from error
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error
    except (IndexError, ValueError) as error:  # tensors of other dimensions than in any network
        raise InputError(
            f"{file.path} has no {role.title} of a known kind: give a model made from Stable Diffusion 1.5."
        ) from error
    network = role.build(config, f"{file.path}: {role.title}")
    inside = {name: name for name in network.state_dict()} if has_diffusers_names(shapes) else role.names(network)
    return Part(role, network, {parameter: prefix + name for parameter, name in inside.items()})


def _unused_names(part: Part, prefix: str) -> set[str]:
    """Return names of stored tensors that influence nothing: in copies of the UNet, those of removed layers."""
    if part.role.stored_as is None:
        return set()
    whole = ROLES[part.role.stored_as]
    hint = {f"input_hint_block.{layer}.{kind}" for layer in range(0, 16, 2) for kind in ("weight", "bias")}
    return {prefix + name for name in hint.union(whole.names(whole.build(dict(part.network.config), prefix)).values())}


def _saved(file: Tensors) -> dict:
    return metadata(file, METADATA)


def _json(configured) -> dict:
    return json.loads(configured.to_json_string())
