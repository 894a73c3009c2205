"""Subgraphs: the blueprints that ComfyUI offers as nodes."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
CORE = {"ImageScaleToTotalPixels": 2, "CreateVideo": 1}  # ComfyUI's own nodes in them, and their saved widgets
INSIDE, OUTSIDE = -10, -20  # nodes that stand for the subgraph's inputs and outputs


def read(file: Path) -> dict:
    return json.loads(file.read_text(encoding="utf-8"))


def definitions(file: Path) -> list[dict]:
    return read(file)["definitions"]["subgraphs"]


def is_widget(kind) -> bool:
    return isinstance(kind, list) or kind in ("INT", "FLOAT", "BOOLEAN", "STRING")


@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_blueprints_are_one_node_of_their_subgraph(file):
    graph = read(file)
    (definition,) = definitions(file)
    (node,) = graph["nodes"]
    assert node["type"] == definition["id"] and definition["name"] == node["title"] == file.stem
    assert definition["description"].endswith(".") and definition["category"].startswith("MagicDance")
    for key in ("inputs", "outputs"):
        assert [slot["name"] for slot in node[key]] == [slot["name"] for slot in definition[key]]
    promoted = [slot["name"] for slot in node["inputs"] if "widget" in slot]
    assert len(node["widgets_values"]) == len(promoted)


@pytest.mark.parametrize("file", BLUEPRINTS, ids=lambda file: file.stem)
def test_subgraphs_are_whole(pack, file):
    for definition in definitions(file):
        nodes = {node["id"]: node for node in definition["nodes"]}
        for link in definition["links"]:
            outside = definition["inputs"] if link["origin_id"] == INSIDE else nodes[link["origin_id"]]["outputs"]
            inside = definition["outputs"] if link["target_id"] == OUTSIDE else nodes[link["target_id"]]["inputs"]
            source, target = outside[link["origin_slot"]], inside[link["target_slot"]]
            assert link["id"] in source.get("linkIds", source.get("links"))
            assert link["id"] in target.get("linkIds", [target.get("link")])
            assert source["type"] == target["type"] == link["type"]
        for node in nodes.values():
            cls = pack.NODE_CLASS_MAPPINGS.get(node["type"])
            if cls is None:
                assert len(node["widgets_values"]) == CORE[node["type"]]
                continue
            types = cls.INPUT_TYPES()
            kinds = types["required"] | types.get("optional", {})
            widgets = sum(
                1 + bool(options.get("control_after_generate")) for kind, options in kinds.values() if is_widget(kind)
            )
            assert len(node["widgets_values"]) == widgets and {slot["name"] for slot in node["inputs"]} <= set(kinds)
            assert [slot["type"] for slot in node["outputs"]] == list(cls.RETURN_TYPES)
            files = [value for value in node["widgets_values"] if isinstance(value, str) and value.endswith(".th")]
            assert files == [model["name"] for model in node["properties"].get("models", [])]


def test_puppets_dance_only_where_nothing_is_downloaded():
    for file in WORKFLOWS:
        nodes = read(file)["nodes"]
        types = {node["type"] for node in nodes}
        if any(node["properties"].get("models") for node in nodes):
            assert {"LoadImage", "LoadVideo"} <= types and "MagicDancePuppets" not in types, file.name
