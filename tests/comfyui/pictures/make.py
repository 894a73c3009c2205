"""Make the pictures of the help pages and the thumbnails of the workflows with a real ComfyUI and a real browser.

Run it after a change of a node, a workflow or the embedded model:

    COMFYUI_PATH=... PYTHON=... PLAYWRIGHT_DIR=... python tests/comfyui/pictures/make.py [--quick] [--embedded FOLDER]
        [--only NAME ...]

--quick runs no workflow, so pictures show no results. --only selects nodes (MagicDanceSample) and workflows
("08 KSampler"). --embedded replaces the embedded model by a model folder. Needs pytest and the requirements of ComfyUI
and of the pack; Chromium, Node.js, and playwright-core in PLAYWRIGHT_DIR.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

import models  # noqa: E402
from conftest import PACK, UNPUBLISHED, Server, link_packs  # noqa: E402

from magicdance_core.media import read_frames  # noqa: E402

WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
STILL, MOVING, FPS, MAX_FRAMES = (960, 540), (420, 420), 15, 48


def graph_types(workflow: Path) -> set[str]:
    return {node["type"] for node in json.loads(workflow.read_text())["nodes"]}


def runs(workflow: Path) -> bool:
    """Return whether a workflow uses the embedded model; the other models have random weights here."""
    return any(node["widgets_values"] == ["embedded"] for node in json.loads(workflow.read_text())["nodes"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--embedded", type=Path)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()

    def wanted(file: Path) -> bool:
        return not options.only or file.stem in options.only

    workflows = [file for file in WORKFLOWS if wanted(file)]
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
        models.write_inputs(base / "input")
        link_packs(base)
        names = sorted(page.stem for page in (ROOT / "web" / "docs").glob("*.md") if wanted(page))
        with_results_first = sorted(WORKFLOWS, key=lambda file: (not runs(file), file))
        shown_in = {name: next(file for file in with_results_first if name in graph_types(file)) for name in names}
        shots = [
            {
                "workflow": str(workflow),
                "run": runs(workflow) and not options.quick,
                "node": node,
                "out": str(base / f"{node or workflow.stem}.png"),
            }
            for node, workflow in [*shown_in.items(), *((None, file) for file in workflows)]
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
        for file in workflows:
            if runs(file) and not options.quick:
                moving_thumbnail(base / "output", file)
            else:
                picture = Image.open(base / f"{file.stem}.png").convert("RGB")
                on_grey(picture, STILL).save(file.with_suffix(".jpg"), quality=85, optimize=True)


def moving_thumbnail(output: Path, workflow: Path) -> None:
    """The video that a workflow has written, small.

    The templates dialog asks for NAME.jpg and nothing else. Browsers go by what a picture holds, not by its name, so
    what it gets is an animated WebP.
    """
    nodes = json.loads(workflow.read_text())["nodes"]
    saving = next(node for node in nodes if node["type"] in ("SaveVideo", "MagicDanceSampleToDisk"))
    prefix = next(value for value in saving["widgets_values"] if str(value).startswith("video/"))
    video = read_frames(output / f"{prefix}_00001_.mp4")
    frames = [on_grey(in_two_rows(frame), MOVING) for frame in islice(video, MAX_FRAMES)]
    with open(workflow.with_suffix(".jpg"), "wb") as file:
        frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=1000 // FPS, loop=0, quality=75)


def in_two_rows(picture: Image.Image) -> Image.Image:
    """Arrange a long row of pictures in two rows, since thumbnails are shown in a square."""
    half, height = picture.width // 2, picture.height
    if picture.width < 3 * height:
        return picture
    stacked = Image.new("RGB", (half, 2 * height))
    for row in range(2):
        stacked.paste(picture.crop((row * half, 0, (row + 1) * half, height)), (0, row * height))
    return stacked


def on_grey(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The whole picture on the editor's grey."""
    return ImageOps.pad(picture, size, Image.Resampling.LANCZOS, (32, 32, 32))


if __name__ == "__main__":
    main()
