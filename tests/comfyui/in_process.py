"""Run nodes inside ComfyUI's own modules for test_in_process.py; print a JSON object.

Arguments: folder of the pack, and the memory mode to simulate: normal or novram.
"""

import gc
import importlib
import importlib.util
import json
import os
import sys
import tempfile
import weakref
from pathlib import Path

pack_folder, memory = sys.argv[1:]
sys.argv[1:] = ["--cpu"]
sys.path.insert(0, os.environ["COMFYUI_PATH"])

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.model_management as mm  # noqa: E402
import torch  # noqa: E402

if memory == "novram":  # ComfyUI refuses --novram together with --cpu, so its state is set by hand
    mm.vram_state = mm.VRAMState.NO_VRAM
    mm.is_device_cpu = lambda device: False

NAME = pack_folder.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(NAME, Path(pack_folder) / "__init__.py")
pack = importlib.util.module_from_spec(spec)
sys.modules[NAME] = pack
spec.loader.exec_module(pack)
MagicDancePipeline = importlib.import_module(f"{NAME}.magicdance_core.pipeline").MagicDancePipeline
SamplingSettings = importlib.import_module(f"{NAME}.magicdance_core.sampling").SamplingSettings
MotionModule = importlib.import_module(f"{NAME}.magicdance_core.models").MotionModule
checkpoints = importlib.import_module(f"{NAME}.magicdance_core.checkpoints")
Motion = importlib.import_module(f"{NAME}.nodes.link_types").Motion
hold = importlib.import_module(f"{NAME}.nodes.comfy.memory").hold


def node(name: str):
    return pack.NODE_CLASS_MAPPINGS[f"MagicDance{name}"]()


def sample(model, reference, poses, *batches: int):
    return node("Sample").sample(
        model, poses, 7, 2, 0.0, "default", "controlnet_important", "exact", *batches, reference=reference
    )[0]


def write_adapter(unet, path: Path) -> Path:
    """A LoRA as AnimateDiff v3's adapter is one."""
    torch.manual_seed(5)
    state = {}
    for name, weight in unet.state_dict().items():
        if name.endswith("attn1.to_q.weight"):
            layer = name.replace("to_q.weight", "processor.to_q_lora")
            state |= {
                f"{layer}.up.weight": torch.randn(len(weight), 2),
                f"{layer}.down.weight": torch.randn(2, weight.shape[1]),
            }
    torch.save(state, path)
    return path


report = {}
with torch.inference_mode():  # as ComfyUI runs nodes
    reference, poses, *_ = node("Puppets").draw(1, 2, 4, 3, 64, 64)
    (model,) = node("LoadBackbone").load("embedded")
    frames = sample(model, reference, poses, 4, 4)
    report["known_to_comfyui"] = sum(held in mm.loaded_models() for held in (model.unet, model.appearance, model.pose))
    report["loaded"] = model.unet.loaded_size() / model.unet.model_size()
    expected = MagicDancePipeline.from_embedded()(
        reference.movedim(-1, 1), poses.movedim(-1, 1), output_type="pt",
        generator=torch.Generator().manual_seed(7), settings=SamplingSettings(2, frames_per_batch=4),
    ).frames  # fmt: skip
    report["core_difference"] = float((frames - expected.movedim(1, -1)).abs().max())

    patchers = (model.unet, model.appearance, model.pose, model.vae)
    for held in patchers:
        held.detach()
        held.partially_load(held.load_device, held.model_size() // 3)
    report["partly_loaded"] = all(0 < held.loaded_size() < held.model_size() for held in patchers)
    report["partial_difference"] = float((sample(model, reference, poses, 4, 4) - frames).abs().max())

    torch.manual_seed(6)
    module = MotionModule.for_unet(model.unet.model.inner)
    with tempfile.TemporaryDirectory() as folder:
        adapter = write_adapter(model.unet.model.inner, Path(folder, "adapter.ckpt"))
        pipe = MagicDancePipeline.from_embedded()
        checkpoints.save_motion(Path(folder, "module.safetensors"), module)
        pipe.load_motion(Path(folder, "module.safetensors"), [(adapter, 0.7)])
        motion = Motion(hold(module, "motion"), checkpoints.read_lora(adapter), 0.7)
    (adapted,) = node("ApplyMotion").apply(model, 1.0, 0.0, 1.0, motion)
    moving = sample(adapted, reference, poses, 4, 4)
    expected = pipe(
        reference.movedim(-1, 1), poses.movedim(-1, 1), output_type="pt",
        generator=torch.Generator().manual_seed(7), settings=SamplingSettings(2, frames_per_batch=4),
    ).frames  # fmt: skip
    report["adapter_moves"] = float((moving - frames).abs().max())
    report["adapter_difference"] = float((moving - expected.movedim(1, -1)).abs().max())
    report["taken_back_difference"] = float((sample(model, reference, poses, 4, 4) - frames).abs().max())
    del adapted, motion, module

    mm.unload_all_models()
    report["unloaded"] = not any(held in mm.loaded_models() for held in patchers)
    report["reloaded_difference"] = float((sample(model, reference, poses, 4, 4) - frames).abs().max())

    gc.collect()
    gc.disable()  # memory has to come back as soon as nobody holds the model
    networks = [weakref.ref(held.model.inner) for held in patchers]
    del model, patchers, held
    report["kept_in_memory"] = sum(network() is not None for network in networks)
print(json.dumps(report))
