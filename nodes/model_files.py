"""Model files that a user chooses in a widget: check the name, load the file once, keep what was loaded."""

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..magicdance_core.checks import shown
from ..magicdance_core.choices import DEFAULT
from .comfy import folders, memory
from .widget_checks import LINKED

HUGGING_FACE = "https://huggingface.co"
SOURCES = {  # where the files of a folder can be had; the last of several folders has the usual choice
    folders.FOLDER: f"{HUGGING_FACE}/Boese0601/MagicDance",
    folders.MOTION_FOLDER: f"{HUGGING_FACE}/guoyww/animatediff",
    "checkpoints": f"{HUGGING_FACE}/Comfy-Org/stable-diffusion-v1-5-archive",
    "controlnet": f"{HUGGING_FACE}/comfyanonymous/ControlNet-v1-1_fp16_safetensors",
}


class LastResult:
    """Keeps the last result of a node: the same key returns it, another key drops it and makes a new one.

    A node has one for each network, so that changing one widget reloads nothing else.
    """

    def __init__(self) -> None:
        self._key = self._value = None

    def __call__(self, key: Any, make: Callable) -> Any:
        if self._value is None or key != self._key:
            self._key = self._value = None  # release the old result before the new one needs memory
            self._value, self._key = make(), key
        return self._value


class SameObject:
    """Part of a key that equals only the same object, which it does not keep alive."""

    def __init__(self, thing: Any):
        self._thing = weakref.ref(thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameObject) and self._thing() is not None and self._thing() is other._thing()


def file_key(path: Path) -> tuple:
    """Return a key that changes with a file, or with the index of a model folder."""
    state = (path / "model_index.json" if path.is_dir() else path).stat()
    return str(path), state.st_mtime_ns, state.st_size


def validate_file(name: str, *keys: str) -> bool | str:
    """Return True if one of ComfyUI's folders `keys` has the file, else the message for VALIDATE_INPUTS."""
    if name in (DEFAULT, LINKED) or (name and folders.find_model(name, *keys)):
        return True
    places = " or ".join(f"models/{key}" for key in keys)
    source = next((f" (from {SOURCES[key]})" for key in reversed(keys) if key in SOURCES), "")
    return (
        f"{shown(name) or 'A file'} is not in {places}: put the file{source} there and refresh the list (R), or choose "
        "another one."
    )


def find_file(name: str, *keys: str) -> Path:
    """Return the path of a chosen file. Raises InputError if it was removed since it was chosen."""
    from ..magicdance_core.errors import InputError

    path = folders.find_model(name, *keys)
    if path is None:
        places = " or ".join(f"models/{key}" for key in keys)
        raise InputError(f"{shown(name)} is not in {places} any more: choose another file.")
    return path


def control_loader(name: str, role: str, *keys: str) -> tuple[tuple, Callable]:
    """Return the two arguments of `LastResult` for a control network: its key, and the function that loads it."""
    from ..magicdance_core.checkpoints import load_control

    path = find_file(name, *keys)
    return file_key(path), lambda: memory.hold(load_control(path, role, memory.storage_dtypes()[role]), role)
