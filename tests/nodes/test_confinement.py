"""File widgets cannot read, write or probe files outside ComfyUI's folders."""

import json
import os
import sys

import pytest

FRAME = {"people": [], "canvas_width": 64, "canvas_height": 64}


@pytest.fixture
def places(comfy, tmp_path):
    """Make ComfyUI's folders, and the folder `secret` next to them, which nodes must not access."""
    paths, made = sys.modules["folder_paths"], {}
    for name in ("input", "output", "temp", "secret"):
        made[name] = tmp_path / name
        made[name].mkdir()
    for name in ("input", "output", "temp"):
        setattr(paths, f"get_{name}_directory", lambda name=name: str(made[name]))

    def annotated(name):
        for mark in ("input", "output", "temp"):
            if name.endswith(f" [{mark}]"):
                return os.path.join(made[mark], name.removesuffix(f" [{mark}]"))
        return os.path.join(made["input"], name)

    paths.get_annotated_filepath = annotated
    paths.get_save_image_path = lambda prefix, base: (
        os.path.join(base, os.path.dirname(prefix)), os.path.basename(prefix), 1, "", prefix,
    )  # fmt: skip
    (made["secret"] / "a.json").write_text(json.dumps(FRAME))
    (made["secret"] / "model").mkdir()
    (made["secret"] / "model" / "model_index.json").write_text("{}")
    (made["secret"] / "a.safetensors").write_bytes(b"x")
    for folder in (made["input"], comfy.models / "magicdance", comfy.models / "checkpoints", made["output"]):
        (folder / "link").symlink_to(made["secret"])
        (folder / "circle").symlink_to(folder / "circle")
    (made["input"] / "link.json").symlink_to(made["secret"] / "a.json")
    return made


def names(places, file):
    """Yield names that try to reach a file in `secret`, and the same for a file that does not exist."""
    for name in (file, f"absent-{file}"):
        outside = places["secret"] / name
        yield from (str(outside), f"../secret/{name}", f"../../{outside.parent.parent.name}/secret/{name}")
        yield from (f"x/../../secret/{name}", f"link/{name}", f"../secret/{name} [output]", f"{outside} [temp]")
        yield from (f"../../../../secret/{name} [example]", f"{outside} [example]")
    yield from ("circle", "", ".", "..", "/", "a\0b", "x" * 5000, "link.json")


def test_keypoints_are_read_from_the_input_folder_only(node, places):
    cls = type(node("LoadKeypoints"))
    answers = set()
    for name in names(places, "a.json"):
        answer = cls.VALIDATE_INPUTS(name)
        assert answer is not True and cls.IS_CHANGED(name, width=0, height=0) == ""
        assert answer.isprintable() and len(answer) < 200
        answers.add(answer.partition(" is not in ")[2])
        with pytest.raises(ValueError, match="is not in the input folder|is no file|cannot be reached"):
            node("LoadKeypoints").load(name, 0, 0, 0.3)
    assert len(answers) == 1 and "" not in answers  # existing and missing files give the same answer
    assert cls.INPUT_TYPES()["required"]["file"][0] == ["dance.npz [example]"]


@pytest.mark.parametrize("place", ["input", "output", "temp"])
def test_keypoints_in_input_output_and_temp_are_read(node, places, place):
    (places[place] / "deep").mkdir()
    (places[place] / "deep" / "b.json").write_text(json.dumps(FRAME))
    (places[place] / "c.json").symlink_to(places[place] / "deep" / "b.json")
    for name in ("deep/b.json", "c.json", "deep/../c.json"):
        name = name if place == "input" else f"{name} [{place}]"
        assert type(node("LoadKeypoints")).VALIDATE_INPUTS(name) is True
        assert node("LoadKeypoints").load(name, 0, 0, 0.3)[1] == 1


@pytest.mark.parametrize("file", ["a.safetensors", "model"])
def test_models_are_found_in_their_folders_only(node, places, held, file):
    for name in (name for name in names(places, file) if not name.startswith("link")):
        for loader, argument in (("LoadBackbone", "ckpt_name"), ("LoadPublished", "ckpt_name")):
            assert type(node(loader)).VALIDATE_INPUTS(**{argument: name}) is not True
            with pytest.raises(ValueError, match="is not in"):
                node(loader).load(name)
        for apply, argument in (("ApplyAppearance", "appearance_name"), ("ApplyPose", "control_net_name")):
            assert type(node(apply)).VALIDATE_INPUTS(**{argument: name}) is not True
            with pytest.raises(ValueError, match="is not in "):
                node(apply).apply(held, name, 1.0, 0.0, 1.0)


def test_models_below_their_folders_are_found(node, places, comfy):
    (comfy.models / "checkpoints" / "sd").mkdir()
    (comfy.models / "checkpoints" / "sd" / "a.safetensors").write_bytes(b"x")
    (comfy.models / "diffusers" / "b").mkdir()
    (comfy.models / "diffusers" / "b" / "model_index.json").write_text("{}")
    for name in ("sd/a.safetensors", "b", "link/a.safetensors"):  # links that users made are followed
        assert type(node("LoadBackbone")).VALIDATE_INPUTS(ckpt_name=name) is True


@pytest.mark.parametrize("prefix", ["../x", "/tmp/x", "a/../../x", "link/x", "..", "a\0b", "x" * 5000])
def test_prefixes_that_leave_the_output_folder_are_refused(node, places, prefix):
    before = sorted(places["secret"].rglob("*"))
    with pytest.raises(ValueError):
        node("SaveKeypoints").save([FRAME], prefix, "json")
    assert sorted(places["secret"].rglob("*")) == before
    assert sorted(os.listdir(places["output"])) == ["circle", "link"]


@pytest.mark.parametrize(
    "prefix, name", [("", "MagicDance"), (".", "MagicDance"), ("./", "MagicDance"), ("a/b", "a/b")]
)
def test_a_prefix_without_a_name_gets_the_default_name(node, places, prefix, name):
    saved = node("SaveKeypoints").save([FRAME], prefix, "json")
    assert saved["ui"]["text"] == [str(places["output"] / f"{name}_00001_.json")]
    assert (places["output"] / f"{name}_00001_.json").is_file()
