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

from PIL import Image

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

import models  # noqa: E402
from conftest import PACK, UNPUBLISHED, Server  # noqa: E402

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
PAGES = {  # node -> workflow that shows it, and whether it has to run for that
    "MagicDancePuppets": (0, True),
    "MagicDanceLoadBackbone": (0, True),
    "MagicDanceSample": (0, True),
    "MagicDanceDrawPoses": (0, True),
    "MagicDanceLoadPublished": (1, False),
    "MagicDanceApplyAppearance": (2, False),
    "MagicDanceApplyPose": (2, False),
    "MagicDanceFromModel": (3, False),
}
THUMBNAIL = (960, 540)


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
        shots = [
            {
                "workflow": str(WORKFLOWS[number]),
                "run": run and not options.quick,
                "node": name,
                "out": str(base / f"{name}.png"),
            }
            for name, (number, run) in PAGES.items()
        ]
        shots += [
            {"workflow": str(file), "run": number == 0 and not options.quick, "out": str(base / f"{file.stem}.png")}
            for number, file in enumerate(WORKFLOWS)
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
        for name in PAGES:
            picture = Image.open(base / f"{name}.png").convert("RGB")
            picture.save(pictures / f"{name}.jpg", quality=88, optimize=True)
        for file in WORKFLOWS:
            _thumbnail(Image.open(base / f"{file.stem}.png").convert("RGB")).save(
                file.with_suffix(".jpg"), quality=85, optimize=True
            )


def _thumbnail(graph: Image.Image) -> Image.Image:
    """The whole graph on the editor's grey."""
    graph.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", THUMBNAIL, (32, 32, 32))
    sheet.paste(graph, ((THUMBNAIL[0] - graph.width) // 2, (THUMBNAIL[1] - graph.height) // 2))
    return sheet


if __name__ == "__main__":
    main()
