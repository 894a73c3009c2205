"""The checkout as ComfyUI takes it in: a folder with a hyphen, a module name with slashes, its root not on the path."""

import json
import re
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
LOADER = """
import importlib.util, json, sys, time, types

folder = sys.argv[1]
sys.path[:] = [place for place in sys.path if place and not place.startswith(sys.argv[2])]
folder_paths = types.ModuleType("folder_paths")
folder_paths.models_dir = "models"
folder_paths.folder_names_and_paths = {"magicdance": (["from_yaml"], set())}


def add_model_folder_path(name, path):
    folder_paths.folder_names_and_paths.setdefault(name, ([], set()))[0].append(path)


folder_paths.add_model_folder_path = add_model_folder_path
folder_paths.get_folder_paths = lambda name: []
sys.modules["folder_paths"] = folder_paths
name = folder.replace(".", "_x_")
start = time.perf_counter()
spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
paths, extensions = folder_paths.folder_names_and_paths["magicdance"]
print(json.dumps({
    "seconds": time.perf_counter() - start,
    "nodes": sorted(module.NODE_CLASS_MAPPINGS),
    "titles": sorted(module.NODE_DISPLAY_NAME_MAPPINGS),
    "web": module.WEB_DIRECTORY,
    "paths": paths,
    "extensions": sorted(extensions),
    "heavy": sorted({"torch", "diffusers", "transformers", "cv2", "numpy", "PIL"} & set(sys.modules)),
    "top_level": sorted({"nodes", "magicdance_core"} & set(sys.modules)),
}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("custom_nodes") / "ComfyUI-MagicDance-Video"
    ignored = shutil.ignore_patterns(".*", "tests", "assets", "runs", "demo", "__pycache__")
    shutil.copytree(ROOT, folder, ignore=ignored)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, folder, ROOT], capture_output=True, text=True, cwd=folder.parent, env={}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_nodes_are_there(loaded):
    assert len(loaded["nodes"]) >= 8 and loaded["nodes"] == loaded["titles"]
    assert all(name.startswith("MagicDance") for name in loaded["nodes"]) and loaded["web"] == "./web"


def test_importing_is_light_and_leaves_no_names_behind(loaded):
    assert loaded["heavy"] == [] and loaded["top_level"] == []


def test_the_model_folder_is_added_to_the_users_own(loaded):
    assert loaded["paths"][0] == "from_yaml" and loaded["paths"][1].endswith("magicdance")
    assert {".th", ".safetensors"} <= set(loaded["extensions"])


def test_workflows_are_whole():
    files = sorted((ROOT / "workflows").glob("*.json"))
    assert len(files) >= 4
    for file in files:
        graph = json.loads(file.read_text(encoding="utf-8"))
        assert file.with_suffix(".jpg").is_file(), f"{file.name} has no thumbnail"
        assert re.fullmatch(r"\d+ [\w ]+", file.stem) and "_" not in file.stem  # the template's title in the dialog
        with Image.open(file.with_suffix(".jpg")) as thumbnail:
            own_model = any(node.get("widgets_values") == ["embedded"] for node in graph["nodes"])
            assert getattr(thumbnail, "n_frames", 1) > 1 or not own_model, f"{file.name}: its thumbnail does not move"
        assert {node["type"] for node in graph["nodes"]} & {"Note", "MarkdownNote"}
        nodes = {node["id"]: node for node in graph["nodes"]}
        for number, source, slot, target, entry, kind in graph["links"]:
            assert number in nodes[source]["outputs"][slot]["links"]
            assert nodes[target]["inputs"][entry]["link"] == number
            assert nodes[source]["outputs"][slot]["type"] == kind
            assert nodes[target]["inputs"][entry]["type"] in (kind, "*")
        for node in graph["nodes"]:
            for model in node["properties"].get("models", []):
                assert model["name"] in node["widgets_values"] and model["url"].startswith("https://")
                assert model["directory"]


def test_workflows_are_readable_in_a_window_of_1400_x_900():
    """The editor fits a graph into three quarters of the window, and hides all text below a scale of 8 / 14."""
    for file in (ROOT / "workflows").glob("*.json"):
        graph = json.loads(file.read_text(encoding="utf-8"))
        assert "ds" not in graph["extra"], f"{file.name}: a saved view puts nodes under the side bar of another window"
        for axis, window in enumerate((1400, 900)):
            ends = [node["pos"][axis] + node["size"][axis] for node in graph["nodes"]]
            length = max(ends) - min(node["pos"][axis] for node in graph["nodes"])
            title, margin = (0, 30)[axis], 72
            assert 0.75 * window / (length + title + margin) > 8 / 14, file.name


def test_nodes_are_apart_and_groups_hold_theirs():
    """Frontends draw a title of 30 pixels above a node's position; a folded node is nothing but its title."""

    def box(node: dict) -> tuple[float, float, float, float]:
        (x, y), (width, height) = node["pos"], node["size"]
        return x, y - 30, x + width, y if node["flags"].get("collapsed") else y + height

    def meet(a: tuple, b: tuple) -> bool:
        return all(a[axis] < b[axis + 2] and b[axis] < a[axis + 2] for axis in (0, 1))

    for file in (ROOT / "workflows").glob("*.json"):
        graph = json.loads(file.read_text(encoding="utf-8"))
        boxes = {node["id"]: box(node) for node in graph["nodes"]}
        for (one, a), (other, b) in combinations(boxes.items(), 2):
            assert not meet(a, b), f"{file.name}: nodes {one} and {other}"
        for group in graph["groups"]:
            left, top, width, height = group["bounding"]
            inside = [b for b in boxes.values() if meet(b, (left, top, left + width, top + height))]
            assert inside, f"{file.name}: {group['title']} is empty"
            assert all(left <= a and top + 30 <= b and c <= left + width for a, b, c, _ in inside), group["title"]
            assert all(d <= top + height for *_, d in inside), group["title"]


def test_a_video_covers_no_node():
    """Save Video grows to its video's shape, beneath 97 pixels of widgets; here sampled frames are as wide as high."""
    for file in (ROOT / "workflows").glob("*.json"):
        nodes = json.loads(file.read_text(encoding="utf-8"))["nodes"]
        save = next((node for node in nodes if node["type"] == "SaveVideo"), None)
        if save is None or {"MagicDanceSideBySide", "ImageStitch"} & {node["type"] for node in nodes}:  # wide
            continue
        (left, top), (width, _) = save["pos"], save["size"]
        for node in nodes:
            (x, y), title = node["pos"], 30
            beside = x >= left + width or x + node["size"][0] <= left
            below = y - title >= top + width + 97
            assert node is save or beside or below or y < top, f"{file.name}: {node['type']}"
