"""Load networks from files and save them; only here are file formats and tensor names known."""

from .components import (
    EMBEDDED,
    EMBEDDED_FACES,
    EMBEDDED_MOTION,
    PUBLISHED_DEFAULTS,
    SUPPORTED_SCHEDULERS,
    Components,
    is_supported,
)
from .diffusers_folder import load_folder, save_folder
from .formats import convert, load, load_control
from .lora_files import merge_weight_lora, save_lora, weight_changes, with_loras
from .motion_files import Lora, load_motion, merge_lora, read_lora, save_motion
from .roles import ROLES, Role
from .single_file import load_file, load_published, load_tensors, read_tensors, save_published
from .tensors import weights_fingerprint

__all__ = [
    "EMBEDDED",
    "EMBEDDED_FACES",
    "EMBEDDED_MOTION",
    "PUBLISHED_DEFAULTS",
    "ROLES",
    "SUPPORTED_SCHEDULERS",
    "Components",
    "Lora",
    "Role",
    "convert",
    "is_supported",
    "load",
    "load_control",
    "load_file",
    "load_folder",
    "load_motion",
    "load_published",
    "load_tensors",
    "merge_lora",
    "merge_weight_lora",
    "read_lora",
    "read_tensors",
    "save_folder",
    "save_lora",
    "save_motion",
    "save_published",
    "weight_changes",
    "weights_fingerprint",
    "with_loras",
]
