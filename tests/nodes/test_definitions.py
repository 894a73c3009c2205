"""What every node promises to the graph editor, and that help and translations cover all of it."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TAKEN = {"LoadMagicDanceModel", "MagicDanceEncoder", "MagicDanceSampler", "MagicDanceDecoder"}
NAMES = {
    "ApplyAppearance", "ApplyPose", "DrawPoses", "ExtractPose", "FromModel", "LoadBackbone", "LoadKeypoints",
    "LoadPublished", "PreviewPose", "Puppets", "RetargetPose", "Sample", "SaveKeypoints", "SmoothPose",
}  # fmt: skip


def inputs(cls) -> dict[str, tuple]:
    types = cls.INPUT_TYPES()
    assert set(types) <= {"required", "optional"}
    return types["required"] | types.get("optional", {})


def test_these_nodes_are_registered(pack):
    assert set(pack.NODE_CLASS_MAPPINGS) == {f"MagicDance{name}" for name in NAMES}  # saved graphs rely on these
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    assert not TAKEN & set(pack.NODE_CLASS_MAPPINGS)
    assert (ROOT / pack.WEB_DIRECTORY / "docs").is_dir()


def test_every_node_explains_itself(pack):
    for cls in pack.NODE_CLASS_MAPPINGS.values():
        assert cls.CATEGORY.startswith("MagicDance") and cls.DESCRIPTION.endswith(".") and cls.SEARCH_ALIASES
        assert len(cls.RETURN_TYPES) == len(cls.RETURN_NAMES) == len(cls.OUTPUT_TOOLTIPS)
        assert all(cls.OUTPUT_TOOLTIPS) and callable(getattr(cls, cls.FUNCTION))
        for name, (kind, options) in inputs(cls).items():
            assert options["tooltip"].strip(), name
            if kind in ("INT", "FLOAT"):
                assert options["min"] <= options["default"] <= options["max"], name
            if isinstance(kind, list) and kind:
                assert options.get("default", kind[0]) in kind, name


def test_the_function_takes_what_the_inputs_give(pack):
    import inspect

    for cls in pack.NODE_CLASS_MAPPINGS.values():
        parameters = list(inspect.signature(getattr(cls, cls.FUNCTION)).parameters.values())[1:]
        assert [p.name for p in parameters] == list(inputs(cls))
        optional = {p.name for p in parameters if p.default is not inspect.Parameter.empty}
        assert optional == set(cls.INPUT_TYPES().get("optional", {}))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_translations_cover_every_input_and_output(pack, language):
    texts = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(texts) == set(pack.NODE_CLASS_MAPPINGS)
    for name, cls in pack.NODE_CLASS_MAPPINGS.items():
        text = texts[name]
        assert text["display_name"] and text["description"]
        assert set(text["inputs"]) == set(inputs(cls)), name
        assert list(text["outputs"]) == [str(i) for i in range(len(cls.RETURN_TYPES))], name
        for part in (*text["inputs"].values(), *text["outputs"].values()):
            assert part["name"] and part["tooltip"]
        if language == "en":
            assert text["description"] == cls.DESCRIPTION
            assert text["display_name"] == pack.NODE_DISPLAY_NAME_MAPPINGS[name]
            assert [part["tooltip"] for part in text["outputs"].values()] == list(cls.OUTPUT_TOOLTIPS)
            for key, (_, options) in inputs(cls).items():
                assert text["inputs"][key]["tooltip"] == options["tooltip"]


def test_every_node_has_a_help_page_with_a_picture(pack):
    docs = ROOT / "web" / "docs"
    for name, cls in pack.NODE_CLASS_MAPPINGS.items():
        page = (docs / f"{name}.md").read_text(encoding="utf-8")
        for key in [*inputs(cls), *cls.RETURN_NAMES]:
            assert f"`{key}`" in page, f"{name}.md says nothing of {key}"
        pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
        assert pictures[0] == f"images/{name}.jpg"  # the node itself
        for picture in pictures:
            assert (docs / picture).is_file(), picture
    assert sum(file.stat().st_size for file in docs.rglob("*")) < 2_000_000
