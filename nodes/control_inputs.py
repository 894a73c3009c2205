"""What the nodes of the controls have in common: their files, and the widgets for strength and range."""

from ..magicdance_core.choices import DEFAULT
from .comfy import folders, memory
from .last_result import identity

MAX_REFERENCES = 32  # every one is read at every step, and each frame looks at all of them


def strength_and_range(strength: str, start: str, end: str) -> dict:
    """Three widgets with these tooltips."""
    part = {"min": 0.0, "max": 1.0, "step": 0.05, "round": 0.001}
    return {
        "strength": (
            "FLOAT",
            {"default": 1.0, "min": 0.0, "max": 4.0, "step": 0.05, "round": 0.001, "tooltip": strength},
        ),
        "start": ("FLOAT", {"default": 0.0, **part, "tooltip": start}),
        "end": ("FLOAT", {"default": 1.0, **part, "tooltip": end}),
    }


def is_there(name: str, *keys: str) -> bool | str:
    """For VALIDATE_INPUTS: whether ComfyUI's folders `keys` have the file, or what to do."""
    if name == DEFAULT or folders.find_model(name, *keys):
        return True
    places = " or ".join(f"models/{key}" for key in keys)
    return f"{name or 'A file'} is not in {places}: put the file there and refresh the list (R), or choose another one."


def loader(name: str, role: str, *keys: str):
    """Key and maker for `LastResult`, of a control in ComfyUI's keeping."""
    from ..magicdance_core.checkpoints import load_control
    from ..magicdance_core.errors import InputError

    path = folders.find_model(name, *keys)
    if path is None:
        raise InputError(f"{name} is not there any more: choose another file.")
    return identity(path), lambda: memory.hold(load_control(path, role, memory.storage_dtypes()[role]), role)
