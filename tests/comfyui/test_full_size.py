"""Workflows with random models of the published size, at 64 x 64 pixels.

Run with MAGICDANCE_FULL_SIZE=1; needs 16 GB of memory, 10 GB of disk and some minutes. The AnimateDiff workflow also
needs the packs in COMFYUI_PACKS.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "workflows"
WORKFLOWS = sorted([*FOLDER.glob("0[34589] *.json"), *FOLDER.glob("10 *.json")])
SMALL = {
    "MagicDancePuppets.frames": 2,
    "MagicDancePuppets.width": 64,
    "MagicDancePuppets.height": 64,
    "MagicDanceSample.steps": 2,
    "KSampler.steps": 2,
    "LoadVideo.file": "dance.mp4",
    "ImageScaleToTotalPixels.megapixels": 0.06,
    "MagicDanceExtractPose.detector": "drawn",
}
LONG = SMALL | {"MagicDanceExtractPose.fps": 80.0}  # 32 frames: two context windows

pytestmark = pytest.mark.skipif(not os.environ.get("MAGICDANCE_FULL_SIZE"), reason="MAGICDANCE_FULL_SIZE is not set")


@pytest.fixture(scope="module")
def full_base(base, tmp_path_factory):
    """Make a base directory with models of the published size; yield it, and their size in float32 in bytes."""
    import models
    import torch
    from motion_file import motion_state

    folder = tmp_path_factory.mktemp("full")
    components = models.full_components()
    models.write_models(folder / "models", components)
    parameters = sum(weight.numel() for network in components.networks().values() for weight in network.parameters())
    del components
    models.write_inputs(folder / "input")
    motion = folder / "models" / "animatediff_models" / "mm_sd_v15_v2.ckpt"
    motion.parent.mkdir(exist_ok=True)
    torch.save(motion_state(), motion)
    (folder / "custom_nodes").symlink_to(base / "custom_nodes")
    yield folder, 4 * parameters  # ComfyUI has networks in float32 on a CPU
    shutil.rmtree(folder / "models")


@pytest.fixture
def full_server(full_base, new_server):
    """Start a server for each workflow, so that memory of earlier ones is not counted."""
    folder, model_bytes = full_base
    server = new_server(folder)
    server.model_bytes = model_bytes
    yield server
    server.close()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_run_at_full_size(full_server, file):
    windows = "AnimateDiff" in file.stem
    if windows and not os.environ.get("COMFYUI_PACKS"):
        pytest.skip("COMFYUI_PACKS is not set")
    prompt = full_server.prompt(json.loads(file.read_text()), LONG if windows else SMALL)
    with full_server.watched() as memory:
        outputs = full_server.run(prompt)
    assert any(output.get("images") for output in outputs.values())
    print(file.stem, f"peak memory {memory[-1] / 2**30:.1f} GiB", file=sys.stderr)
    if file.stem == "08 KSampler":
        assert memory[-1] < full_server.model_bytes + 2e9
