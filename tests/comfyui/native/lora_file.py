"""A LoRA file of the trainer, loaded by ComfyUI's own loader."""

import tempfile
from pathlib import Path

import comfy.sd
import comfy.utils
import torch
from setting import MODEL, UNET, module, published_names, relative


def lora() -> dict:
    """Differences between ComfyUI's patched weights and the core's merged ones, of a LoRA in all attention layers."""
    checkpoints, low_rank = module("magicdance_core.checkpoints"), module("magicdance_core.training.low_rank")
    random = torch.Generator().manual_seed(3)
    state, pairs = UNET.state_dict(), {}
    layers = {n: layer for n, layer in UNET.named_modules() if n.endswith(low_rank.ATTENTION)}
    for name in (f"{name}.weight" for name, layer in layers.items() if isinstance(layer, torch.nn.Linear)):
        out, wide = state[name].shape
        pairs[name] = torch.randn(out, 4, generator=random), torch.randn(4, wide, generator=random)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lora.safetensors"
        checkpoints.save_lora(path, "unet", pairs)
        patched, _ = comfy.sd.load_lora_for_models(MODEL, None, comfy.utils.load_torch_file(str(path)), 0.5, 0)
    wanted = {name: w + 0.5 * (pairs[name][0] @ pairs[name][1] if name in pairs else 0) for name, w in state.items()}
    before = {name: w.clone() for name, w in MODEL.model.diffusion_model.state_dict().items()}
    patched.patch_model()
    names = published_names("unet", UNET).keys()
    ours = dict(zip(names, wanted.values()))
    made = {name: w.clone() for name, w in patched.model.diffusion_model.state_dict().items()}
    patched.unpatch_model()
    return {
        "patched": len(patched.patches),
        "pairs": len(pairs),
        "relative": max(relative(made[name], ours[name]) for name in names),
        "moves": max(relative(made[name], before[name]) for name in names),
    }
