"""Single files: the published layout, Stable Diffusion 1.x checkpoints and bare ControlNets."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError
from ..files import whole_file
from ..schedule import published_scheduler, scheduler_from_config
from . import architecture, names
from .assembly import TITLES, DTypes, Part, build, check, dtype_of, fill
from .components import PUBLISHED_DEFAULTS, Components
from .tensors import TensorFile, TensorsInMemory, write_tensors
from .text import encode_empty_prompt

PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.text_model.",
    "appearance": "appearance_control_model.",
    "pose": "pose_control_model.",
}
CONTEXT = "empty_prompt"  # our addition, for models without a text tower
METADATA = "magicdance"  # our addition: configurations as JSON, for what shapes cannot tell


def load_published(path: str | Path, dtype: DTypes = None) -> Components:
    """A complete model from one file in the published layout (`model_state-110000.th`, or converted).

    dtype: of all networks or of each by role; None keeps what the file has.
    Raises InputError that names the missing, extra and mis-shaped tensors, or what kind of file it is instead.
    """
    file = TensorFile(Path(path))
    found = contents(file)
    if found.get("appearance") == "control_model.":
        raise InputError(
            f"{path} is a stage-1 file (appearance pretraining, without a Pose ControlNet): "
            "give the stage-2 file (model_state-110000.th) or load its Appearance Control Model alone."
        )
    return _load(file, found, dtype, required=list(PREFIXES))


def load_file(path: str | Path, dtype: DTypes = None, controls: bool = True) -> Components:
    """UNet, VAE and text of any Stable Diffusion 1.x checkpoint, with the controls that it holds besides.

    controls: False leaves the Appearance Control Model and the Pose ControlNet unread.
    Raises InputError that names the missing, extra and mis-shaped tensors.
    """
    file = TensorFile(Path(path))
    found, skipped = contents(file), ()
    if not controls:
        skipped = tuple(found.pop(role) for role in ("appearance", "pose") if role in found)
    return _load(file, found, dtype, ["unet", "vae", "text_encoder"], skipped)


def load_part(path: str | Path, role: str, dtype: torch.dtype | None = None) -> nn.Module:
    """One network of a file; role: "appearance" (stage-1 and stage-2 files) or "pose" (and bare ControlNets)."""
    file = TensorFile(Path(path))
    prefix = _require(file, contents(file), role)
    part = _part(file, role, prefix)
    dead = _dead(part, prefix) if role == "appearance" else set()
    check(file, [part], lambda name: not name.startswith(prefix) or name in dead)
    return fill(part, file, dtype)


def load_tensors(
    tensors: dict[str, torch.Tensor], role: str, source: str, dtype: torch.dtype | None = None
) -> nn.Module:
    """One network of tensors in memory, under the published layout's names without prefix; source: for messages."""
    file = TensorsInMemory(source, tensors)
    part = _part(file, role, "")
    check(file, [part])
    return fill(part, file, dtype)


def save_published(path: str | Path, components: Components, dtype: torch.dtype | None = None) -> None:
    """Write one safetensors file in the published layout, without the tensors that influence nothing.

    What the shapes cannot tell (groups, heads, prediction type, schedule) goes into the file's metadata.
    """
    path = Path(path)
    tensors = {} if components.text_encoder is not None else {CONTEXT: components.context}
    saved = {"scheduler": _json(components.scheduler), "defaults": components.defaults}
    for role, prefix in PREFIXES.items():
        if (network := getattr(components, role)) is None:
            continue
        saved[role] = _json(network.config if role == "text_encoder" else network)
        translate, weights = _translation(role), network.state_dict()
        for parameter, name in translate(network).items():
            weight = weights[parameter].to("cpu", dtype)
            attention = role == "vae" and ".attn_1." in name and weight.dim() == 2
            tensors[prefix + name] = weight[:, :, None, None] if attention else weight
    size = sum(tensor.nbytes for tensor in tensors.values())
    with whole_file(path, size) as temporary:
        write_tensors(temporary, tensors, {METADATA: json.dumps(saved)})


def contents(file: TensorFile) -> dict[str, str]:
    """Which networks a file holds: role -> prefix of its tensors."""

    def has(prefix: str) -> bool:
        return any(name.startswith(prefix) for name in file.shapes)

    found = {role: prefix for role, prefix in PREFIXES.items() if has(prefix)}
    if has(old := "cond_stage_model.transformer.embeddings."):
        found["text_encoder"] = old.removesuffix("embeddings.")
    if has("control_model.output_blocks."):
        found.setdefault("appearance", "control_model.")
    elif has("control_model."):
        found.setdefault("pose", "control_model.")
    elif has("zero_convs.") or has("controlnet_cond_embedding."):
        found.setdefault("pose", "")
    return found


def _require(file: TensorFile, found: dict[str, str], role: str) -> str:
    if role not in found:
        inside = " and ".join(TITLES[role] for role in found) or "no network known here"
        raise InputError(f"{file.path} lacks {TITLES[role]} (it holds {inside}): give a file that has it.")
    return found[role]


def _load(
    file: TensorFile,
    found: dict[str, str],
    dtype: DTypes,
    required: list[str],
    skipped: tuple[str, ...] = (),
) -> Components:
    if CONTEXT in file.shapes:
        required.remove("text_encoder")
    for role in required:
        _require(file, found, role)
    parts = {role: _part(file, role, prefix) for role, prefix in found.items()}
    dead = _dead(parts["appearance"], found["appearance"]) if "appearance" in parts else set()
    check(file, parts.values(), lambda name: name == CONTEXT or name.startswith(skipped) or name in dead)
    networks = {role: fill(part, file, dtype_of(dtype, role)) for role, part in parts.items()}
    text_encoder = networks.get("text_encoder")
    if text_encoder is None:
        ((_, context),) = file.read([CONTEXT])
        context = context.float().clone()
    else:
        context = encode_empty_prompt(text_encoder)
    saved = _saved(file)
    return Components(
        unet=networks["unet"],
        vae=networks["vae"],
        appearance=networks.get("appearance"),
        pose=networks.get("pose"),
        scheduler=scheduler_from_config(saved["scheduler"]) if saved else published_scheduler(),
        text_encoder=text_encoder,
        context=context,
        defaults=saved.get("defaults", PUBLISHED_DEFAULTS.copy()),
    )


def _part(file: TensorFile, role: str, prefix: str) -> Part:
    shapes = {name.removeprefix(prefix): shape for name, shape in file.shapes.items() if name.startswith(prefix)}
    diffusers_layout = "controlnet_cond_embedding.conv_in.weight" in shapes
    readers = {
        "vae": architecture.vae_config,
        "text_encoder": architecture.text_config,
        "pose": architecture.diffusers_pose_config if diffusers_layout else architecture.pose_config,
    }
    try:
        config = _saved(file).get(role) or readers.get(role, architecture.unet_config)(shapes)
    except KeyError as error:
        raise InputError(
            f"{file.path} is incomplete: {TITLES[role]} lacks {prefix}{error.args[0]}; download it again."
        ) from error
    except InputError as error:
        raise InputError(f"{file.path}: {error}") from error
    network = build(role, config)
    inside = {name: name for name in network.state_dict()} if diffusers_layout else _translation(role)(network)
    return Part(TITLES[role], network, {parameter: prefix + name for parameter, name in inside.items()})


def _dead(appearance: Part, prefix: str) -> set[str]:
    """Tensors of a stored appearance network that never influence a record."""
    unet = build("unet", appearance.network.config)
    hint = {f"input_hint_block.{layer}.{kind}" for layer in range(0, 16, 2) for kind in ("weight", "bias")}
    return {prefix + name for name in hint.union(names.unet_names(unet).values())}


def _translation(role: str) -> Callable[[nn.Module], dict[str, str]]:
    return {"vae": names.vae_names, "text_encoder": names.text_names, "pose": names.pose_names}.get(
        role, names.unet_names
    )


def _saved(file: TensorFile) -> dict:
    return json.loads(file.metadata.get(METADATA, "{}"))


def _json(configured) -> dict:
    return json.loads(configured.to_json_string())
