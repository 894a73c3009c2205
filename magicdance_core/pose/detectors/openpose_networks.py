"""controlnet-aux's body, hand and face networks with weights from local files; the only place that touches it."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...errors import InputError
from .base import required_file

if TYPE_CHECKING:
    from torch import nn

SOURCE = "https://huggingface.co/lllyasviel/Annotators"
FILES = {"body": "body_pose_model.pth", "hand": "hand_pose_model.pth", "face": "facenet.pth"}
_CLASSES = {"body": ("model", "bodypose_model"), "hand": ("model", "handpose_model"), "face": ("face", "FaceNet")}
_PRIVATE = "_magicdance_open_pose"


def new_network(kind: str) -> nn.Module:
    """The network without trained weights, in evaluation mode. kind: "body", "hand" or "face".

    Pictures go in as float32 [1, 3, H, W], BGR, value / 256 - 0.5, sides multiples of 8. Heat maps come out at an
    eighth of the size: part affinities [1, 38, h, w] and joints [1, 19, h, w]; [1, 22, h, w]; a list whose last is
    [1, 71, h, w].
    Raises InputError where controlnet-aux cannot be used.
    """
    module, name = _CLASSES[kind]
    try:
        return getattr(_open_pose(module), name)().eval()
    except (ImportError, AttributeError) as error:
        raise InputError(f"controlnet-aux cannot be used ({error}); run pip install -U controlnet-aux.") from error


def load_network(kind: str, folder: str | Path) -> nn.Module:
    """The network with the weights of its file in the folder, on the CPU. Nothing is downloaded, no pickle is run.

    Raises InputError where the file is missing, damaged or of another network.
    """
    import torch

    path = required_file(folder, FILES[kind], SOURCE)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        with torch.device("meta"):  # no numbers are drawn for weights that the file replaces
            network = new_network(kind)
        names = {_file_key(name, state): name for name in network.state_dict()}
        network.load_state_dict({names[key]: value.float() for key, value in state.items()}, assign=True)
    except (OSError, EOFError, KeyError, TypeError, AttributeError, RuntimeError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).split("\n")[0]
        raise InputError(f"{path} does not hold the {kind} network ({reason}); get it again from {SOURCE}.") from error
    return network


def _file_key(name: str, state: dict) -> str:
    """The body and hand files lack the first part of the networks' names."""
    return name if name in state else name.split(".", 1)[1]


def _open_pose(module: str) -> ModuleType:
    """A module of controlnet_aux.open_pose, imported under a private package of the same folder.

    `import controlnet_aux` imports all its detectors and fails as a whole where one does (current mediapipe, SciPy 2).
    The networks need torch alone; the face module's `util` is for decoding, which is ours, and stays empty.
    """
    if _PRIVATE not in sys.modules:
        spec = importlib.util.find_spec("controlnet_aux")
        if spec is None:
            raise ImportError("it is not installed")
        package, util = ModuleType(_PRIVATE), ModuleType(f"{_PRIVATE}.util")
        package.__path__ = [str(Path(place) / "open_pose") for place in spec.submodule_search_locations]
        package.util = util  # type: ignore[attr-defined]
        sys.modules[_PRIVATE], sys.modules[util.__name__] = package, util
    return importlib.import_module(f"{_PRIVATE}.{module}")
