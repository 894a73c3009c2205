"""Makes the pictures of the help pages and the thumbnails of the workflows, from a real ComfyUI and a real browser.

For maintainers, after a change of a node, a workflow or the embedded model:

    COMFYUI_PATH=... PYTHON=... PLAYWRIGHT_DIR=... python tests/comfyui/pictures/make.py [--quick] [--embedded FOLDER]

--quick runs no workflow, so there are no results in the pictures. --embedded takes a model folder in place of the
embedded model. Needs pytest beside ComfyUI's requirements and ours, and Chromium, Node.js and playwright-core, as the
acceptance harness does.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

import models  # noqa: E402
from conftest import PACK, UNPUBLISHED, Server, link_packs  # noqa: E402

from magicdance_core.media import read_frames  # noqa: E402

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
THUMBNAIL = (960, 540)


def graph_types(workflow: Path) -> set[str]:
    return {node["type"] for node in json.loads(workflow.read_text())["nodes"]}


def runs(workflow: Path) -> bool:
    """Only the embedded model makes pictures worth showing; the other models are random here."""
    return any(node["widgets_values"] == ["embedded"] for node in json.loads(workflow.read_text())["nodes"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--embedded", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        pack = base / "custom_nodes" / PACK
        shutil.copytree(ROOT, pack, ignore=UNPUBLISHED)
        embedded = pack / "magicdance_core" / "assets" / "embedded"
        if options.embedded:
            shutil.copytree(options.embedded, embedded, dirs_exist_ok=True)
        if not embedded.is_dir():
            models.write_embedded(embedded)
        models.write_models(base / "models")
        link_packs(base)
        names = sorted(page.stem for page in (ROOT / "web" / "docs").glob("*.md"))
        shown_in = {name: next(file for file in WORKFLOWS if name in graph_types(file)) for name in names}
        shots = [
            {
                "workflow": str(workflow),
                "run": runs(workflow) and not options.quick,
                "node": node,
                "out": str(base / f"{node or workflow.stem}.png"),
            }
            for node, workflow in [*shown_in.items(), *((None, file) for file in WORKFLOWS)]
        ]
        shots.sort(key=lambda shot: shot["workflow"])
        server = Server(base)
        try:
            job = {
                "url": f"http://127.0.0.1:{server.port}",
                "playwright": os.environ["PLAYWRIGHT_DIR"],
                "chromium": shutil.which("chromium"),
                "shots": shots,
            }
            subprocess.run(["node", HERE / "shoot.mjs", json.dumps(job)], check=True)
        finally:
            server.close()
        pictures = ROOT / "web" / "docs" / "images"
        pictures.mkdir(exist_ok=True)
        for name in names:
            picture = Image.open(base / f"{name}.png").convert("RGB")
            picture.save(pictures / f"{name}.jpg", quality=88, optimize=True)
        for file in WORKFLOWS:
            result = runs(file) and not options.quick
            picture = middle_frame(base / "output", file) if result else Image.open(base / f"{file.stem}.png")
            thumbnail(picture.convert("RGB")).save(file.with_suffix(".jpg"), quality=85, optimize=True)


def middle_frame(output: Path, workflow: Path) -> Image.Image:
    """Of the video that a workflow has written."""
    nodes = json.loads(workflow.read_text())["nodes"]
    prefix = next(node["widgets_values"][0] for node in nodes if node["type"] == "SaveVideo")
    frames = list(read_frames(output / f"{prefix}_00001_.mp4"))
    return frames[len(frames) // 2]


def thumbnail(picture: Image.Image) -> Image.Image:
    """The whole picture on the editor's grey."""
    return ImageOps.pad(picture, THUMBNAIL, Image.Resampling.LANCZOS, (32, 32, 32))


if __name__ == "__main__":
    main()
