"""The pack as ComfyUI loads it, with stand-ins for the parts of ComfyUI that it uses."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]


class Patcher:
    """Stand-in for comfy.model_patcher.ModelPatcher."""

    def __init__(self, model, load_device, offload_device):
        model.device = offload_device  # as ComfyUI does; read-only in diffusers' own modules
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
        self.patches_uuid, self.patches = 0, {}

    def clone(self):
        clone = Patcher(self.model, self.load_device, self.offload_device)
        clone.patches = dict(self.patches)
        return clone

    def add_patches(self, patches, strength):
        assert patches.keys() <= self.model.state_dict().keys()
        self.patches |= {name: (strength, patch) for name, patch in patches.items()}


class Interrupt(Exception):
    pass


class Comfy:
    """State of the stand-ins: settings that tests change, and a record of the calls."""

    def __init__(self, folder: Path):
        self.models = folder
        self.loads: list[tuple[list, float]] = []
        self.bars: list[list] = []
        self.interrupt_after: int | None = None
        self.checks = 0
        self.texts: list[tuple[str, str]] = []
        self.events: list[tuple[str, dict]] = []

    def send_progress_text(self, text, node_id):
        self.texts.append((text, node_id))

    client_id = "page"

    def send_sync(self, event, data, sid):
        assert sid == "page"
        self.events.append((event, data))

    def check_interrupt(self):
        self.checks += 1
        if self.interrupt_after is not None and self.checks > self.interrupt_after:
            raise Interrupt


def _modules(comfy: Comfy) -> dict[str, ModuleType]:
    cpu = torch.device("cpu")
    paths: dict[str, tuple[list, set]] = {
        name: ([str(comfy.models / name)], {".safetensors", ".pth"})
        for name in ("checkpoints", "controlnet", "diffusers", "loras")
    } | {"custom_nodes": ([str(comfy.models.parent / "custom_nodes")], set())}

    def add_path(name, path, is_default=False):
        paths.setdefault(name, ([], set()))[0].append(path)

    def names(key):
        return [
            str(file.relative_to(base))
            for base in paths[key][0]
            for file in sorted(Path(base).rglob("*"))
            if file.is_file() and (not paths[key][1] or file.suffix in paths[key][1])
        ]

    def full_path(key, name):
        return next((str(Path(base) / name) for base in paths[key][0] if (Path(base) / name).is_file()), None)

    class Bar:
        def __init__(self, total):
            self.total, self.seen = total, []
            comfy.bars.append(self.seen)

        def update_absolute(self, value, total=None, preview=None):
            comfy.check_interrupt()
            self.seen.append((value, self.total, preview))

        def update(self, value):
            self.update_absolute((self.seen[-1][0] if self.seen else 0) + value)

    class LatentPreviewer:
        def decode_latent_to_preview_image(self, kind, latents):
            return kind, tuple(latents.shape), 512

    def load_lora(tensors, targets):
        patches = {}
        for name, target in targets.items():
            patches[target] = tuple(tensors.pop(f"{name}.lora_{side}.weight") for side in ("up", "down"))
        assert not tensors
        return patches

    layers = {
        kind.__name__: type(kind.__name__, (kind,), {}) for kind in (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)
    }
    contents = {
        "comfy": {},
        "comfy.model_patcher": {"ModelPatcher": Patcher},
        "comfy.ops": {"manual_cast": SimpleNamespace(**layers)},
        "comfy.lora": {"load_lora": load_lora},
        "comfy.utils": {"ProgressBar": Bar},
        "comfy.latent_formats": {"SD15": type("SD15", (), {})},
        "comfy.supported_models": {name: type(name, (), {}) for name in ("SD15", "SDXL", "SD20")},
        "comfy.model_sampling": {"V_PREDICTION": type("V_PREDICTION", (), {})},
        "comfy.model_management": {
            "get_torch_device": lambda: cpu,
            "vae_device": lambda: cpu,
            "unet_offload_device": lambda: cpu,
            "vae_offload_device": lambda: cpu,
            "intermediate_device": lambda: cpu,
            "unet_dtype": lambda device, model_params: torch.float32,
            "vae_dtype": lambda device, allowed: torch.float32,
            "unet_manual_cast": lambda dtype, device: None,
            "load_models_gpu": lambda models, memory_required=0, **more: comfy.loads.append((models, memory_required)),
            "throw_exception_if_processing_interrupted": comfy.check_interrupt,
            "InterruptProcessingException": Interrupt,
            "interrupt_current_processing": lambda: setattr(comfy, "interrupt_after", comfy.checks),
        },
        "comfy_execution": {},
        "comfy_execution.utils": {"get_executing_context": lambda: SimpleNamespace(node_id="7")},
        "server": {"PromptServer": SimpleNamespace(instance=comfy)},
        "latent_preview": {"get_previewer": lambda device, latent_format: LatentPreviewer()},
        "folder_paths": {
            "models_dir": str(comfy.models),
            "folder_names_and_paths": paths,
            "add_model_folder_path": add_path,
            "get_filename_list": names,
            "get_folder_paths": lambda key: paths[key][0],
            "get_full_path": full_path,
            "get_full_path_or_raise": full_path,
            "get_input_directory": lambda: str(comfy.models.parent / "input"),
        },
    }
    made = {}
    for name, attributes in contents.items():
        made[name] = ModuleType(name)
        vars(made[name]).update(attributes)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(made[parent], child, made[name])
    return made


@pytest.fixture
def comfy(tmp_path, monkeypatch) -> Comfy:
    """Install the stand-ins for ComfyUI; `comfy.models` is its model folder."""
    state = Comfy(tmp_path / "models")
    for name, module in _modules(state).items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("checkpoints", "controlnet", "diffusers", "magicdance"):
        (state.models / name).mkdir(parents=True)
    return state


PACK = "/custom_nodes/ComfyUI-MagicDance-Video"  # a module name with slashes, as ComfyUI gives


@pytest.fixture
def pack(comfy):
    """Return the pack's root module, registered with the current `comfy`."""
    if PACK in sys.modules:
        importlib.import_module(f"{PACK}.nodes.comfy.folders").register_model_folders()
        return sys.modules[PACK]
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def core(pack):
    """Return a function that imports a module of the pack's core: `core("checkpoints")`."""
    return lambda name: importlib.import_module(f"{PACK}.magicdance_core.{name}")


@pytest.fixture
def node(pack):
    """Return a function that makes a node: `node("Sample")`."""
    return lambda name: pack.NODE_CLASS_MAPPINGS[f"MagicDance{name}"]()


@pytest.fixture
def pose_maps():
    """Return a function that draws an IMAGE of coloured strokes on black: `pose_maps(frames, height, width)`."""

    def draw(frames: int, height: int, width: int, seed: int = 2) -> torch.Tensor:
        maps = torch.zeros(frames, height, width, 3)
        columns = torch.rand(frames, 6, generator=torch.Generator().manual_seed(seed)) * width
        hues = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]]).float()
        for frame, places in enumerate(columns.long().tolist()):
            for row, (column, hue) in enumerate(zip(places, hues)):
                maps[frame, (row + 1) * height // 8, column // 2 : column + 1] = hue
        return maps

    return draw


@pytest.fixture
def held(pack, tiny):
    """Return the tiny model as a MAGICDANCE_MODEL."""
    loaders = importlib.import_module(f"{PACK}.nodes.loaders")
    tiny.text_encoder = object()  # it takes prompts
    return loaders._hold(tiny)
