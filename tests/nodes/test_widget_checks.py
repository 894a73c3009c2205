"""Widgets are checked when a node runs, since ComfyUI does not check values that arrive by a link."""

import inspect
import json
import os
import sys

import numpy as np
import pytest
import torch

FRAME = {"people": [], "canvas_width": 64, "canvas_height": 64}
WRONG = {"INT": (2**70, -(2**70), 10**5000, 1.5, float("nan"), "1", None, True), "BOOLEAN": ("yes", 1, None)}
WRONG["FLOAT"] = (1e30, -1e30, 10**5000, float("nan"), float("inf"), "1", None, True)
WRONG["STRING"] = ("x" * 5000, None, 7, 10**5000)
WRONG["COMBO"] = ("x/../../evil.json", "", None, 7, ["json"], "json\0", "\ud800\x1b[2J" * 1000, 10**5000)


def widgets(cls):
    """Yield name, kind and options of every widget; the kind of a list is COMBO."""
    types = cls.INPUT_TYPES()
    for name, (kind, options) in (types["required"] | types.get("optional", {})).items():
        if isinstance(kind, list) or kind in WRONG:
            yield name, "COMBO" if isinstance(kind, list) else kind, options


def test_every_widget_of_every_node_refuses_wrong_values(pack, core, tmp_path):
    """Sockets get None: the check comes before anything looks at them."""
    sys.modules["folder_paths"].get_annotated_filepath = lambda name: str(tmp_path / name)
    tried = 0
    for cls in pack.NODE_CLASS_MAPPINGS.values():
        known = cls.INPUT_TYPES()
        names = [*known["required"], *known.get("optional", {})]
        for name, kind, _ in widgets(cls):
            for value in WRONG[kind]:
                given = dict.fromkeys(names) | {n: options.get("default", "none") for n, _, options in widgets(cls)}
                given |= {name: value}
                with pytest.raises(core("errors").InputError) as caught:
                    getattr(cls(), cls.FUNCTION)(**given)
                sentence = str(caught.value)  # of a missing file if the node has one
                assert f"`{name}`" in sentence or "is not in" in sentence, (cls.__name__, name, value, sentence)
                assert sentence.isprintable() and len(sentence) < 500
                tried += 1
    assert tried > 300


@pytest.mark.parametrize(
    "name, inputs, sentence",
    [
        ("Puppets", {"frames": 10**8}, "`frames` is 100000000: give 1 to 4096."),
        ("Puppets", {"frames": 0}, "`frames` is 0: give 1 to 4096."),
        ("Sample", {"steps": -1}, "`steps` is -1: give 0 to 999."),
        (
            "Sample",
            {"preset": "fastest"},
            "`preset` is 'fastest', which is not in its list: choose one of exact, fast, preview.",
        ),
        (
            "SaveKeypoints",
            {"format": "x/../../evil.json"},
            "`format` is 'x/../../evil.json', which is not in its list: choose one of json, npz.",
        ),
        ("SideBySide", {"labels": "," * 5000}, "`labels` has 5,000 characters: give at most 4,096."),
        ("EmptyFrames", {"shared_noise": "no"}, "`shared_noise` is 'no': give true or false."),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_remedy(node, name, inputs, sentence):
    made = node(name)
    required = made.INPUT_TYPES()["required"]
    values = {key: options.get("default") for key, (_, options) in required.items()} | inputs
    with pytest.raises(ValueError) as caught:
        getattr(made, made.FUNCTION)(**values)
    assert str(caught.value) == sentence


def test_a_linked_format_creates_and_overwrites_nothing(node, comfy, tmp_path, monkeypatch):
    paths, output = sys.modules["folder_paths"], tmp_path / "output"
    (output / "keypoints" / "MagicDance_00001_.x").mkdir(parents=True)
    (tmp_path / "evil.json").write_text("mine")
    monkeypatch.setattr(paths, "get_output_directory", lambda: str(output), raising=False)
    monkeypatch.setattr(
        paths,
        "get_save_image_path",
        lambda prefix, base: (os.path.join(base, "keypoints"), "MagicDance", 1, "", prefix),
        raising=False,
    )
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="choose one of json, npz"):
        node("SaveKeypoints").save([FRAME], "keypoints/MagicDance", "x/../../../evil.json")
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "evil.json").read_text() == "mine"
    node("SaveKeypoints").save([FRAME], "keypoints/MagicDance", "json")
    assert json.loads((output / "keypoints" / "MagicDance_00001_.json").read_text())


def test_a_label_of_any_length_is_drawn(node):
    picture = torch.zeros(1, 8, 8, 3)
    (frames,) = node("SideBySide").arrange(picture, "x" * 4096, 1)
    assert frames.shape[0] == 1 and frames.max() <= 1


def test_a_canvas_of_thousands_of_digits_is_one_sentence(node):
    for side in (10**5000, -(10**5000), float("nan"), "64" * 5000):
        with pytest.raises(ValueError, match="canvas") as caught:
            node("DrawPoses").draw([{"people": [], "canvas_width": side, "canvas_height": 64}], 0, 0, True, True, True)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 300


def test_numbers_of_numpy_are_taken_as_pythons(node):
    draw = node("Puppets").draw
    plain = draw(identity=1, choreography=2, frames=2, seed=3, width=64, height=64)
    numpys = draw(*map(np.int64, (1, 2, 2, 3, 64, 64)))
    assert all((a == b).all() for a, b in ((plain[0], numpys[0]), (plain[3], numpys[3])))


def test_linked_file_widgets_pass_the_check_before_the_run(pack, tmp_path):
    """ComfyUI calls VALIDATE_INPUTS and IS_CHANGED without the inputs that are linked."""
    sys.modules["folder_paths"].get_annotated_filepath = lambda name: str(tmp_path / name)
    found = 0
    for cls in pack.NODE_CLASS_MAPPINGS.values():
        if validate := getattr(cls, "VALIDATE_INPUTS", None):
            assert len(inspect.signature(validate).parameters) == 1  # ComfyUI marks all that it names
            assert validate() is True, cls
            found += 1
        if changed := getattr(cls, "IS_CHANGED", None):
            assert changed(width=0, height=0) != changed("x.json", width=0, height=0)
    assert found >= 8


def test_puppets_are_interrupted_while_they_are_drawn(node, comfy):
    comfy.interrupt_after = 2
    with pytest.raises(Exception, match="") as caught:
        node("Puppets").draw(0, 0, 4096, 0, 64, 64)
    assert caught.type.__name__ == "Interrupt" and comfy.checks == 3
