"""diffusers folders: our own, with every network in its sub-folder, and stock Stable Diffusion 1.5 ones."""

import json
from pathlib import Path

import torch
from torch import nn

from ..errors import InputError
from ..files import whole_folder
from ..schedule import published_scheduler, scheduler_from_config
from . import names
from .assembly import TITLES, DTypes, Part, build, check, dtype_of, fill
from .components import PUBLISHED_DEFAULTS, Components
from .tensors import TensorFile, write_tensors
from .text import encode_empty_prompt

FOLDERS = {
    "unet": "unet",
    "vae": "vae",
    "text_encoder": "text_encoder",
    "appearance": "appearance_control_model",
    "pose": "pose_control_model",
}
EMPTY_PROMPT = "empty_prompt.safetensors"
INDEX = "model_index.json"
OWN = "MagicDancePipeline"
WEIGHTS = (
    "{}.safetensors",
    "{}-*-of-*.safetensors",
    "{}.fp16.safetensors",
    "{}.bin",
)
OLD_VAE = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # before diffusers 0.17


def save_folder(path: str | Path, components: Components, dtype: torch.dtype | None = None) -> None:
    """Write a model as a diffusers folder, in `dtype` (None: as it is); replaces an earlier one whole.

    Raises InputError where that cannot be done; nothing is left behind then.
    """
    path = Path(path)
    networks = {role: network for role in FOLDERS if (network := getattr(components, role)) is not None}
    index = {"_class_name": OWN, "defaults": components.defaults}
    index |= {FOLDERS[role]: [_library(network), type(network).__name__] for role, network in networks.items()}
    index["scheduler"] = ["diffusers", type(components.scheduler).__name__]
    size = sum(
        weight.numel() * (dtype or weight.dtype).itemsize
        for network in networks.values()
        for weight in network.state_dict().values()
    )
    with whole_folder(path, size, replaces=INDEX) as temporary:
        for role, network in networks.items():
            _save_network(temporary / FOLDERS[role], role, network, dtype)
        components.scheduler.save_pretrained(temporary / "scheduler")
        if components.text_encoder is None:
            write_tensors(temporary / EMPTY_PROMPT, {"context": components.context.float()})
        (temporary / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def load_folder(path: str | Path, dtype: DTypes = None, controls: bool = True) -> Components:
    """A model from a folder written by `save_folder`, or from a stock Stable Diffusion 1.5 folder of diffusers.

    dtype: of all networks or of each by role; None keeps what the files have. controls: False leaves the
    Appearance Control Model and the Pose ControlNet unread; those that the folder lacks are None. A stock folder
    gets the published scheduler with its own prediction type.
    Raises InputError that names what is missing or does not fit.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} is not a folder: give one written by save_pretrained.")
    wanted = FOLDERS if controls else ("unet", "vae", "text_encoder")
    networks = {
        role: load_network(path / FOLDERS[role], role, dtype_of(dtype, role))
        for role in wanted
        if role in ("unet", "vae") or (path / FOLDERS[role]).is_dir()
    }
    index = _read_json(path / INDEX)
    schedule = _read_json(path / "scheduler" / "scheduler_config.json")
    own = index.get("_class_name") == OWN
    return Components(
        unet=networks["unet"],
        vae=networks["vae"],
        appearance=networks.get("appearance"),
        pose=networks.get("pose"),
        scheduler=scheduler_from_config(schedule)
        if own
        else published_scheduler(schedule.get("prediction_type", "epsilon")),
        text_encoder=networks.get("text_encoder"),
        context=_context(path, networks.get("text_encoder")),
        defaults=index.get("defaults", PUBLISHED_DEFAULTS.copy()),
    )


def load_network(path: str | Path, role: str, dtype: torch.dtype | None = None) -> nn.Module:
    """One network from its own folder (`config.json` and weights) or from a whole model's folder.

    role: a key of `FOLDERS`. Raises InputError that names what is missing or does not fit.
    """
    path = Path(path)
    if (path / FOLDERS[role]).is_dir():
        path /= FOLDERS[role]
    config = _read_json(path / "config.json")
    file = TensorFile(*_weights(path))
    network = build(role, config)
    part = Part(TITLES[role], network, _names_in_file(role, network, file))
    spare = set(build("unet", config).state_dict()) if role == "appearance" else set()
    check(file, [part], spare.__contains__)
    return fill(part, file, dtype)


def _save_network(path: Path, role: str, network: nn.Module, dtype: torch.dtype | None) -> None:
    text = role == "text_encoder"
    weights = {name: weight.to("cpu", dtype) for name, weight in network.state_dict().items()}
    path.mkdir(parents=True)
    if text:
        network.config.save_pretrained(path)
        weights = {f"text_model.{name.removeprefix('text_model.')}": weight for name, weight in weights.items()}
    else:
        network.save_config(path)
    write_tensors(path / f"{'model' if text else 'diffusion_pytorch_model'}.safetensors", weights)


def _weights(path: Path) -> list[Path]:
    for stem in ("diffusion_pytorch_model", "model", "pytorch_model"):
        for pattern in WEIGHTS:
            if files := sorted(path.glob(pattern.format(stem))):
                return files
    raise InputError(f"{path} holds no weights (diffusion_pytorch_model.safetensors): copy the whole model folder.")


def _names_in_file(role: str, network: nn.Module, file: TensorFile) -> dict[str, str]:
    if role == "text_encoder":
        prefix = "text_model." if any(name.startswith("text_model.") for name in file.shapes) else ""
        return {name: prefix + bare for name, bare in names.text_names(network).items()}
    renamed = {name: name for name in network.state_dict()}
    if role == "vae" and "encoder.mid_block.attentions.0.query.weight" in file.shapes:
        for ours, old in OLD_VAE.items():
            renamed = {name: stored.replace(f".{ours}.", f".{old}.") for name, stored in renamed.items()}
    return renamed


def _context(path: Path, text_encoder: nn.Module | None) -> torch.Tensor:
    if text_encoder is not None:
        return encode_empty_prompt(text_encoder)
    file = TensorFile(path / EMPTY_PROMPT)
    if len(file.shapes.get("context", ())) != 3:
        raise InputError(f"{file.path} lacks the tensor context of shape [1, n, C]: copy the whole model folder.")
    ((_, context),) = file.read(["context"])
    return context.float().clone()


def _library(network: nn.Module) -> str:
    return type(network).__module__.partition(".")[0]


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} is missing: give a complete model folder.") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: copy the model folder again.") from error
