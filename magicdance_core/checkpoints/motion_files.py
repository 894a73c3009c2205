"""Load motion modules (AnimateDiff and derivatives, diffusers folders, ours) and LoRAs for them; save motion modules.

Formats are recognised by the names and shapes of tensors, never by file names.
"""

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checks import number
from ..errors import InputError
from ..files import as_path, atomic_write, existing
from ..models import MotionModule
from .architecture import Shapes, motion_config
from .assembly import Part, check, fill
from .diffusers_folder import read_json, weight_files
from .names import motion_name
from .roles import ROLES
from .single_file import METADATA as MODEL_METADATA
from .tensors import SAFETENSORS, TensorFile, metadata, write_tensors

METADATA = "magicdance_motion"  # key of the configuration, as JSON, in files that we write
SECOND_TABLE = ".attention_blocks.1.pos_encoder.pe"
LORA = re.compile(r"(.+?)(?:\.processor)?\.to_(q|k|v|out)(?:\.0)?(?:_lora|\.lora)[._](down|up|A|B)\.weight")
LORA_SIDES = {"A": "down", "B": "up"}
MAX_STRENGTH = 100  # of a LoRA; the usual one is 1
SDXL_WIDTHS = [320, 640, 1280]


def load_motion(path: str | Path, dtype: torch.dtype | None = None) -> MotionModule:
    """Load a motion module: AnimateDiff v1, v2 or v3, TemporalDiff, AnimateLCM, diffusers' format, HelloMeme, or ours.

    path: a file, the folder of a module, or a model's folder. dtype: None keeps the file's.
    The UNet that AnimateDiff's trainer saves with a module is ignored. Raises InputError that names missing, extra and
    mis-shaped tensors, and for modules of other models.
    """
    path, stated, role = existing(path), {}, ROLES["motion"]
    if path.is_dir():
        path = path / role.folder if (path / role.folder).is_dir() else path
        stated, file = read_json(path / "config.json"), TensorFile(*weight_files(path))
    else:
        file = TensorFile(path)
        stated = metadata(file, METADATA) or metadata(file, MODEL_METADATA).get(role.name, {})
    names = {ours: name for name in file.shapes if (ours := motion_name(name)) and not name.endswith(SECOND_TABLE)}
    config = _config(file, {ours: file.shapes[name] for ours, name in names.items()}, stated)
    network = role.build(config, str(file.path))
    needed = {name: names.get(name, name) for name in network.state_dict()}
    tables = {name for name in needed if name.endswith(".pe") and name not in names}
    if len(tables) == sum(name.endswith(".pe") for name in needed):  # as in AnimateLCM's files
        needed = {name: stored for name, stored in needed.items() if name not in tables}
    part = Part(role, network, needed)
    check(file, [part], lambda name: name.endswith(SECOND_TABLE) or motion_name(name) is None)
    return fill(part, file, dtype)


def save_motion(path: str | Path, motion: MotionModule, dtype: torch.dtype | None = None) -> None:
    """Save a motion module as a safetensors file with diffusers' names and its configuration in the metadata."""
    path = as_path(path)
    if path.suffix not in SAFETENSORS:
        raise InputError(f"A motion module cannot be saved as {path.name}: give a name that ends in {SAFETENSORS[0]}.")
    tensors = {name: weight.to("cpu", dtype) for name, weight in motion.state_dict().items()}
    with atomic_write(path, sum(tensor.nbytes for tensor in tensors.values())) as temporary:
        write_tensors(temporary, tensors, {METADATA: motion.to_json_string()})


@dataclass(frozen=True)
class Lora:
    """A LoRA for a motion module (`is_motion`) or for a UNet.

    pairs: name of a weight -> (up `[out, rank]`, down `[rank, in]`), float32; their product is added.
    """

    path: Path
    is_motion: bool
    pairs: dict[str, tuple[Tensor, Tensor]]

    def check_fits(self, network: nn.Module) -> None:
        """Raise InputError if a network lacks one of the weights or has it in another shape."""
        weights = network.state_dict()
        for target, (up, down) in self.pairs.items():
            if target not in weights:
                raise InputError(
                    f"{self.path} does not fit the model, which has no {target}: give a LoRA for this model."
                )
            if (up.shape[0], down.shape[-1]) != tuple(weights[target].shape):
                raise InputError(
                    f"{self.path} does not fit the model, whose {target} has another shape: give a LoRA for this model."
                )


def read_lora(path: str | Path) -> Lora:
    """Load a motion LoRA or AnimateDiff v3's adapter (a spatial LoRA). Raises InputError for other files."""
    file = TensorFile(as_path(path))
    names: dict[str, dict[str, str]] = {}
    for name in file.shapes:
        if match := LORA.fullmatch(name):
            layer, projection, side = match.groups()
            target = f"{layer}.to_{projection}{'.0' if projection == 'out' else ''}.weight"
            target = motion_name(target) or target.removeprefix("unet.")
            names.setdefault(target, {})[LORA_SIDES.get(side, side)] = name
    if not names:
        raise InputError(f"{path} is not a LoRA for a motion module: give a motion LoRA or AnimateDiff v3's adapter.")
    if others := [name for name in file.shapes if not LORA.fullmatch(name)]:
        raise InputError(
            f"{path} has {len(others)} tensors, like {others[0]}, that are not of attention layers: give a "
            "motion LoRA or AnimateDiff v3's adapter."
        )
    factors, pairs = dict(file.read(chain.from_iterable(sides.values() for sides in names.values()))), {}
    for target, sides in names.items():
        up, down = (factors[sides[side]].float() if side in sides else None for side in ("up", "down"))
        if up is None or down is None or not up.dim() == down.dim() == 2 or up.shape[1] != down.shape[0]:
            raise InputError(f"{path} is damaged, as its change of {target} is incomplete: download it again.")
        pairs[target] = up, down
    return Lora(file.path, any(map(motion_name, names)), pairs)


@torch.no_grad()
def merge_lora(path: str | Path, strength: float, motion: MotionModule, unet: nn.Module | None = None) -> None:
    """Merge a LoRA into weights: a motion LoRA into the motion module, AnimateDiff v3's adapter into the UNet.

    Raises InputError for a file that is neither or does not fit, and for a strength that is not finite; nothing is
    changed then.
    """
    strength = number(float, strength, f"The strength of {path}", -MAX_STRENGTH, MAX_STRENGTH)
    lora = read_lora(path)
    network = motion if lora.is_motion else unet
    if network is None:
        raise InputError(
            f"{path} is a spatial LoRA, which changes the UNet, not the motion module: give it as adapter."
        )
    lora.check_fits(network)
    weights = network.state_dict()
    for target, (up, down) in lora.pairs.items():
        weights[target].copy_(weights[target].float() + (strength * (up @ down)).to(weights[target].device))


def _config(file: TensorFile, shapes: Shapes, stated: dict) -> dict:
    """Return the configuration of a module from its shapes, by our names. Raises InputError if it is not for SD 1.5."""

    def has(part: str) -> bool:
        return any(part in name for name in file.shapes)

    if has("temporal_attentions.") or has("pos_encoder.positional_encoding"):
        raise InputError(f"{file.path} is HotShot-XL, a module for SDXL: give one for Stable Diffusion 1.5.")
    if has("img_encoder."):
        raise InputError(
            f"{file.path} is AnimateLCM-I2V, which also reads a picture by an encoder of its own: give AnimateLCM's "
            "module for text to video."
        )
    if any(map(LORA.fullmatch, file.shapes)):
        kind = "a motion LoRA" if shapes else "a spatial LoRA, like AnimateDiff v3's adapter"
        raise InputError(f"{file.path} is {kind}: give it as a LoRA beside a motion module.")
    if not shapes:
        raise InputError(f"{file.path} has no motion module: give one of AnimateDiff for Stable Diffusion 1.5.")
    if file.shapes.get("conv_in.weight", (0, 4))[1] != 4:
        raise InputError(f"{file.path} is PIA, whose UNet takes an additional picture: give a module of AnimateDiff.")
    if "noise" in stated:  # our configuration, which is complete
        return stated
    try:
        config = motion_config(shapes, stated)
    except KeyError as error:
        raise InputError(f"{file.path} is incomplete, it lacks {error.args[0]}: download it again.") from error
    except (IndexError, ValueError) as error:  # tensors of other dimensions than in any module
        raise InputError(f"{file.path} has no motion module of a known kind: give one of AnimateDiff.") from error
    if config["block_out_channels"] == SDXL_WIDTHS:
        raise InputError(f"{file.path} is a module for SDXL: give one for Stable Diffusion 1.5.")
    return config
