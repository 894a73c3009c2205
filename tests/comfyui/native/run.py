"""Run checks inside ComfyUI's own modules for test_native.py; print a JSON object. Arguments: names of checks."""

import importlib
import json
import sys

wanted = sys.argv[1:]

import setting  # noqa: E402, F401  it takes the arguments away before ComfyUI reads them
import torch  # noqa: E402

MODULES = {
    "against_core": ("prediction", "ksampler"),
    "with_pose": ("pose",),
    "beside": ("order", "others", "regions", "samplers", "guiders", "compiled"),
    "lora_file": ("lora",),
    "life": ("nothing", "precision", "memory_modes", "cleaning", "mistakes"),
    "packs": ("animatediff", "advanced_controlnet", "ip_adapter"),
}

report = {}
with torch.inference_mode():  # as ComfyUI runs nodes
    for name in wanted:
        module = importlib.import_module(next(key for key, checks in MODULES.items() if name in checks))
        report[name] = getattr(module, name)()
print(json.dumps(report))
