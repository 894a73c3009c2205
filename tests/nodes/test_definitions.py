"""Definitions of all nodes for the graph editor, and that help pages, translations and workflows match them."""

import argparse
import importlib.util
import inspect
import json
import re
import sys
import traceback
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
TAKEN = {"LoadMagicDanceModel", "MagicDanceEncoder", "MagicDanceSampler", "MagicDanceDecoder"}
WIDGETS = {  # saved workflows store values in this order, scripts by these names: only ever add at the end
    "LoadBackbone": ["ckpt_name"],
    "LoadPublished": ["ckpt_name"],
    "FromModel": [],
    "ApplyAppearance": ["appearance_name", "strength", "start_percent", "end_percent"],
    "ApplyPose": ["control_net_name", "strength", "start_percent", "end_percent"],
    "LoadMotion": [
        "motion_module_name",
        "motion_lora_name",
        "motion_lora_strength",
        "adapter_name",
        "adapter_strength",
    ],
    "ApplyMotion": ["strength", "start_percent", "end_percent"],
    "SelectPerson": ["person"],
    "CombinePeople": [],
    "PersonMask": ["person", "margin", "softness", "source"],
    "AddRegion": [],
    "CleanPlate": [],
    "ContextOptions": [
        "context_length",
        "context_overlap",
        "closed_loop",
        "noise_type",
        "beta_schedule",
        "context_stride",
        "fuse_method",
        "motion_in_uncond",
        "random_starts",
        "quick_preview",
    ],
    "Puppets": ["identity", "choreography", "frames", "seed", "width", "height"],
    "DrawPoses": ["width", "height", "draw_body", "draw_hands", "draw_face"],
    "ExtractPose": ["detector", "person", "person_index", "max_gap", "fps", "min_score"],
    "RetargetPose": ["position", "driving_frame", "fill_missing", "fps"],
    "SmoothPose": ["method", "window_length", "min_cutoff", "beta", "fps"],
    "PreviewPose": ["opacity", "draw_body", "draw_hands", "draw_face", "fps"],
    "LoadKeypoints": ["file", "width", "height", "min_score"],
    "SaveKeypoints": ["filename_prefix", "format"],
    "Sample": [
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "control_mode",
        "preset",
        "frames_per_batch",
        "decode_chunk_size",
    ],
    "SampleToDisk": [
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "control_mode",
        "preset",
        "frames_per_batch",
        "decode_chunk_size",
        "fps",
        "filename_prefix",
        "format",
        "keep_frames",
        "width",
        "height",
    ],
    "CompareFrames": ["amplification"],
    "LoadPublishedAsModel": ["ckpt_name"],
    "LoadPoseControlNet": ["ckpt_name"],
    "LoadAppearance": ["ckpt_name"],
    "ApplyAppearanceToModel": ["strength", "start_percent", "end_percent", "control_mode"],
    "EmptyFrames": ["shared_noise"],
    "SpeedOptions": ["cfg_start_percent", "cfg_end_percent", "reference_every", "pose_every"],
    "SideBySide": ["labels", "enlarge"],
    "RefineFaces": [
        "strength",
        "seed",
        "steps",
        "cfg",
        "sampler_name",
        "control_mode",
        "preset",
        "frames_per_batch",
        "decode_chunk_size",
    ],
    "EditExpression": [
        "mouth_open",
        "smile",
        "brows",
        "blink",
        "gaze_x",
        "gaze_y",
        "head_tilt",
        "schedules",
        "audio_strength",
        "fps",
    ],
    "MatchBeat": ["fps", "max_shift"],
}


def inputs(cls) -> dict[str, tuple]:
    types = cls.INPUT_TYPES()
    assert set(types) <= {"required", "optional"}
    return types["required"] | types.get("optional", {})


def test_all_nodes_are_registered_under_free_ids(pack):
    assert set(pack.NODE_CLASS_MAPPINGS) == {f"MagicDance{name}" for name in WIDGETS}
    assert set(pack.NODE_CLASS_MAPPINGS) == set(pack.NODE_DISPLAY_NAME_MAPPINGS)
    assert not TAKEN & set(pack.NODE_CLASS_MAPPINGS)
    assert (ROOT / pack.WEB_DIRECTORY / "docs").is_dir()


def is_widget(kind) -> bool:
    return isinstance(kind, list) or kind in ("INT", "FLOAT", "BOOLEAN", "STRING")


def test_names_and_order_of_all_widgets(pack):
    found = {
        name.removeprefix("MagicDance"): [key for key, (kind, _) in inputs(cls).items() if is_widget(kind)]
        for name, cls in pack.NODE_CLASS_MAPPINGS.items()
    }
    assert found == WIDGETS


def test_every_node_and_input_has_a_description(pack):
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


def test_functions_take_the_declared_inputs(pack):
    to_run = sys.modules[f"{pack.__name__}.nodes.sampling_inputs"].to_run

    def parameters(function) -> dict[str, inspect.Parameter]:
        return dict(list(inspect.signature(function).parameters.items())[1:])

    for cls in pack.NODE_CLASS_MAPPINGS.values():
        taken = parameters(getattr(cls, cls.FUNCTION))
        if taken.pop("shared", None):  # the nodes that sample pass what is not theirs on
            taken |= parameters(to_run)
        else:
            assert list(taken) == list(inputs(cls))
        assert set(taken) == set(inputs(cls))
        optional = {name for name, p in taken.items() if p.default is not inspect.Parameter.empty}
        assert optional == set(cls.INPUT_TYPES().get("optional", {}))


def test_workflows_hold_a_value_for_every_widget(pack):
    for file in (ROOT / "workflows").glob("*.json"):
        for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]:
            if (cls := pack.NODE_CLASS_MAPPINGS.get(node["type"])) is None:
                continue
            widgets = 0
            for kind, options in inputs(cls).values():
                if is_widget(kind):
                    widgets += 1 + bool(options.get("control_after_generate"))
            assert len(node["widgets_values"]) == widgets, f"{file.name}: {node['type']}"


LANGUAGES = ["de", "es", "fr", "ja", "ko", "ru", "zh"]
WHOLE = re.compile(
    r"`[^`]+`|https?://\S+|[A-Za-z0-9_-]+\.(?:th|pth|onnx|ckpt)(?![a-z])|models/[a-z_]+|\d+(?:\.\d+)?"
)  # never translated


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_cover_every_input_and_output(pack, language):
    folder = ROOT / "locales"
    texts = json.loads((folder / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(texts) == set(pack.NODE_CLASS_MAPPINGS)
    for name, cls in pack.NODE_CLASS_MAPPINGS.items():
        text = texts[name]
        assert text["display_name"] and text["description"]
        assert set(text["inputs"]) == set(inputs(cls)), name
        assert list(text["outputs"]) == [str(i) for i in range(len(cls.RETURN_TYPES))], name
        for part in (*text["inputs"].values(), *text["outputs"].values()):
            assert part["name"] and part["tooltip"]
        for key, (kind, _) in inputs(cls).items():
            named = set(kind) & set(re.findall(r"([\w-]+): ", inputs(cls)[key][1]["tooltip"])) if is_list(kind) else ()
            assert all(choice in text["inputs"][key]["tooltip"] for choice in named), f"{name}.{key}"
    catalogue = json.loads((folder / "texts" / f"{language}.json").read_text(encoding="utf-8"))
    assert catalogue.pop("")  # says how it was made
    for english, translation in catalogue.items():
        assert set(WHOLE.findall(english)) == set(WHOLE.findall(translation)), translation


def is_list(kind) -> bool:
    return isinstance(kind, list) and bool(kind)


def test_there_is_a_catalogue_for_each_language():
    assert sorted(path.stem for path in (ROOT / "locales" / "texts").glob("*.json")) == LANGUAGES


def test_english_texts_and_help_pages_match_the_nodes(monkeypatch):
    monkeypatch.setitem(sys.modules, "folder_paths", None)  # monkeypatch restores it
    spec = importlib.util.spec_from_file_location("make_locales", ROOT / "locales" / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    for path, text in make.texts().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not fresh: run make locales"


def test_nodes_and_commands_offer_the_choices_of_the_core(pack, core):
    choices = core("choices")

    def offered(node: str, name: str) -> list:
        return inputs(pack.NODE_CLASS_MAPPINGS[f"MagicDance{node}"])[name][0]

    assert offered("Sample", "sampler_name") == list(choices.SCHEDULERS)
    assert offered("Sample", "preset") == list(choices.PRESETS) == list(core("sampling").PRESETS)
    assert offered("Sample", "control_mode") == list(choices.CONTROL_MODES)
    assert offered("ContextOptions", "noise_type") == list(choices.NOISES)
    assert offered("ContextOptions", "fuse_method") == list(choices.WINDOW_WEIGHTS)
    assert offered("ContextOptions", "beta_schedule") == list(choices.BETA_SCHEDULES)
    assert offered("ExtractPose", "detector") == list(choices.DETECTORS)
    assert offered("PersonMask", "source") == list(choices.MASK_SOURCES)
    assert offered("ExtractPose", "person") == [*choices.PEOPLE, "index"]
    assert offered("RetargetPose", "position") == list(choices.POSITIONS)
    assert offered("SmoothPose", "method") == list(choices.SMOOTHING_METHODS)
    assert offered("SaveKeypoints", "format") == [suffix[1:] for suffix in choices.KEYPOINT_SUFFIXES]

    def told(command: str) -> str:
        parser = argparse.ArgumentParser(formatter_class=partial(argparse.HelpFormatter, width=1000))
        core(f"commands.{command}").add_arguments(parser)
        return parser.format_help()

    def one_of(*names: str) -> str:
        return "{" + ",".join(names) + "}"

    for option in (f"--control-mode {one_of(*choices.CONTROL_MODES)}", f"--fit {one_of(*choices.FITS)}"):
        assert option in told("animate")
    for option in (
        f"--detector {one_of(*choices.DETECTORS)}",
        f"--smooth {one_of('none', *choices.SMOOTHING_METHODS)}",
        f"--person {'|'.join(choices.PEOPLE)}|N",
    ):
        assert option in told("extract")
    for command in ("animate", "convert"):
        assert f"--dtype {one_of(*choices.DTYPES)}" in told(command)


def test_every_node_has_a_help_page_with_a_picture(pack):
    docs = ROOT / "web" / "docs"
    for name, cls in pack.NODE_CLASS_MAPPINGS.items():
        page = (docs / f"{name}.md").read_text(encoding="utf-8")
        for key in cls.RETURN_NAMES:
            assert f"`{key}`" in page, f"{name}.md says nothing of {key}"
        pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)
        assert pictures[0] == f"images/{name}.jpg"  # the node itself
        for picture in pictures:
            assert (docs / picture).is_file(), picture
    assert sum(file.stat().st_size for file in docs.rglob("*")) < 2_000_000


def test_help_pages_fit_the_info_panel():
    """At its default width, the frontend's panel hides the third column of a table."""
    for page in (ROOT / "web" / "docs").glob("*.md"):
        rows = re.findall(r"^\|.*\|$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(row.count("|") - row.count("\\|") <= 3 for row in rows), page.name


@pytest.mark.parametrize("words", ["photo", "dance", "animate", "pose video"])
def test_newcomers_words_find_a_node(pack, words):
    found = [name for name, cls in pack.NODE_CLASS_MAPPINGS.items() if any(words in a for a in cls.SEARCH_ALIASES)]
    assert found and words not in ("dance", "animate") or "MagicDanceSample" in found


def test_workflows_are_in_order_and_name_their_model_files():
    """Linux lists templates by name. The frontend offers the files in `models` of a node's properties."""
    files = sorted((ROOT / "workflows").glob("*.json"))
    assert [file.name[:2] for file in files] == [f"{number:02}" for number in range(1, len(files) + 1)]
    for file in files:
        graph = json.loads(file.read_text(encoding="utf-8"))
        for node in graph["nodes"]:
            values = [value for value in node.get("widgets_values") or [] if isinstance(value, str)]
            listed = {model["name"]: model for model in node["properties"].get("models", [])}
            chosen = {value for value in values if re.fullmatch(r"[\w-]+\.(th|ckpt|safetensors)", value)}
            assert chosen == set(listed), f"{file.name}: {node['type']}"
            assert all(model["url"].startswith("https://") and model["directory"] for model in listed.values())
            if "Note" in node["type"]:  # inline code and the theme's colours are not readable in Nodes 2.0
                assert "`" not in values[0] and node["bgcolor"] == "#10181d"


def test_workflows_without_files_open_as_apps():
    for number in (1, 6, 7, 12):
        (file,) = (ROOT / "workflows").glob(f"{number:02} *.json")
        graph = json.loads(file.read_text(encoding="utf-8"))
        nodes = {node["id"]: node for node in graph["nodes"]}
        app = graph["extra"]["linearData"]
        assert all(nodes[output]["type"] == "SaveVideo" for output in app["outputs"]) and app["outputs"]
        for node, widget in app["inputs"]:
            assert widget in WIDGETS[nodes[node]["type"].removeprefix("MagicDance")]


def test_input_errors_have_a_plain_title_and_no_traceback(node):
    """ComfyUI's execution.py makes the title from the class, and logs the traceback."""
    with pytest.raises(ValueError, match="disconnect it") as caught:
        node("LoadBackbone").load("embedded", vae=SimpleNamespace(get_sd=dict, encode=len))
    kind = caught.type
    assert (kind.__module__, kind.__qualname__) == ("builtins", "InputError")
    frames = [frame for frame in traceback.extract_tb(caught.tb) if frame.filename.startswith(str(ROOT / "nodes"))]
    assert [frame.name for frame in frames] == ["run"] and caught.value.__context__ is None
