"""Load a model of any format, and convert between a single file and a folder."""

import os
from pathlib import Path

import torch

from ..errors import InputError
from ..files import as_path, check_target
from ..models import AppearanceControlModel, PoseControlNet
from .assembly import DTypes
from .components import Components
from .diffusers_folder import INDEX, load_folder, load_network, save_folder
from .single_file import load_file, load_file_network, save_published
from .tensors import SAFETENSORS


def load(path: str | Path, dtype: DTypes = None, controls: bool = True) -> Components:
    """Load a model from a folder or a file, with the controls that it has; see `load_folder` and `load_file`."""
    return (load_folder if os.path.isdir(as_path(path)) else load_file)(path, dtype, controls)


def load_control(
    path: str | Path, role: str, dtype: torch.dtype | None = None
) -> AppearanceControlModel | PoseControlNet:
    """Load a single control from a file (`load_file_network`) or a folder (`load_network`).

    role: "appearance" or "pose".
    """
    return (load_network if os.path.isdir(as_path(path)) else load_file_network)(path, role, dtype)


def convert(source: str | Path, target: str | Path, dtype: torch.dtype | None = None) -> None:
    """Convert `source` (folder or file) to a .safetensors file in the published layout, or to a folder.

    target: a path ending in .safetensors, or one without suffix for a folder. dtype: None keeps the source's.
    Raises InputError if the source is not a model or the target cannot be written; nothing is left behind.
    """
    target = as_path(target)
    if target.suffix not in ("", *SAFETENSORS):
        raise InputError(
            f"{target} is neither a folder nor .safetensors: give a path that ends in .safetensors or has no suffix."
        )
    check_target(target, None if target.suffix else INDEX)
    components = load(source, dtype)
    if target.suffix:
        save_published(target, components, dtype)
    else:
        save_folder(target, components, dtype)
