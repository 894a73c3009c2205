"""Sockets refuse what is no value of their type: other packs have outputs of any type, bypassed nodes give None."""

import importlib
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch


class Anything:
    """Has the names of all that ComfyUI's objects have, and nothing behind them."""

    get_model_object = clone = get_sd = encode = tokenize = get_stream_source = None


class Network:
    """Like the MODEL, VAE or CLIP of another family, without what is its own."""

    def __init__(self):
        self.model, self.patcher = SimpleNamespace(), SimpleNamespace()

    def clone(self):
        return self


FOREIGN = {
    "text": "x",
    "number": 3,
    "nothing in it": object(),
    "a class": Anything,
    "names only": Anything(),
    "another network": Network(),
    "a function": len,
    "a dict": {},
    "a latent": {"samples": torch.zeros(1, 16, 8, 8)},
    "a list": [3],
    "a tuple": (3,),
    "a number as a tensor": torch.tensor(0.5),
    "a row": torch.zeros(3),
    "a video as a tensor": torch.zeros(1, 2, 8, 8, 3),
    "complex numbers": torch.zeros(1, 8, 8, 3, dtype=torch.complex64),
    "no memory": torch.zeros(1, 8, 8, 3, device="meta"),
    "a sparse tensor": torch.zeros(1, 8, 8, 3).to_sparse(),
}
SENTENCE = r"is not an? [A-Z_]+: connect an output of type [A-Z_]+\.$"


def sockets(cls):
    types = cls.INPUT_TYPES()
    return {
        name: kind
        for name, (kind, options) in (types["required"] | types.get("optional", {})).items()
        if isinstance(kind, str) and kind.isupper() and "default" not in options
    }


@pytest.fixture
def given(pack, comfy, tiny, held):
    """Return a function that gives valid values for all inputs of a node."""
    module = lambda name: importlib.import_module(f"{pack.__name__}.nodes.{name}")  # noqa: E731
    link_types, memory = module("link_types"), module("comfy.memory")
    sampling = importlib.import_module(f"{pack.__name__}.magicdance_core.sampling")
    picture, mask = torch.zeros(1, 16, 16, 3), torch.zeros(1, 16, 16)
    valid = {
        "IMAGE": picture, "MASK": mask, "LATENT": {"samples": torch.zeros(1, 4, 2, 2)},
        "CONDITIONING": [[torch.zeros(1, 3, 12), {}]], "AUDIO": {"waveform": torch.ones(1, 1, 800), "sample_rate": 800},
        "POSE_KEYPOINT": [{"people": [], "canvas_width": 16, "canvas_height": 16}],
        link_types.MODEL_TYPE: held, link_types.CONTEXT_TYPE: link_types.ContextOptions(),
        link_types.SPEED_TYPE: sampling.Shortcuts(),
        link_types.REGIONS_TYPE: (link_types.RegionInput(picture, mask),),
        link_types.APPEARANCE_TYPE: memory.hold(tiny.appearance, "appearance"),
    }  # fmt: skip

    def values(cls):
        types = cls.INPUT_TYPES()
        inputs = types["required"] | types.get("optional", {})
        return {
            name: options["default"]
            if "default" in options
            else valid.get(kind)
            if isinstance(kind, str)
            else next(iter(kind), "none")
            for name, (kind, options) in inputs.items()
        }

    return values


def test_every_socket_refuses_what_is_no_value_of_its_type(pack, core, given):
    tried = 0
    check = importlib.import_module(f"{pack.__name__}.nodes.socket_checks")
    for cls in pack.NODE_CLASS_MAPPINGS.values():
        values = given(cls)
        for name, kind in sockets(cls).items():
            assert kind in check.KINDS or kind == "POSE_KEYPOINT", (cls, name, kind)  # checked where they are converted
            for what, value in FOREIGN.items():
                if kind == "POSE_KEYPOINT" or check.KINDS[kind](value):
                    continue
                with pytest.raises(core("errors").InputError, match=SENTENCE) as caught:
                    check.check_sockets(cls, values | {name: value})
                named = str(caught.value).split("`")[1]  # of several, the first is told
                assert named == name or values[named] is None, (cls, name, what)
                tried += 1
    assert tried > 800


def test_what_the_checks_let_through_is_little(pack):
    """Objects with the right form and wrong contents are refused where they are converted."""
    kinds = importlib.import_module(f"{pack.__name__}.nodes.socket_checks").KINDS
    passed = {(kind, what) for kind, check in kinds.items() for what, value in FOREIGN.items() if check(value)}
    dicts = {"a dict", "a latent"}
    assert passed == {(kind, what) for kind in ("LATENT", "AUDIO") for what in dicts} | {("CONDITIONING", "a list")}
    assert not any(check(None) for check in kinds.values())


@pytest.mark.parametrize(
    "name, method, socket",
    [
        ("FromModel", "take", "model"),
        ("FromModel", "take", "vae"),
        ("LoadBackbone", "load", "vae"),
        ("ExtractPose", "extract", "video"),
        ("DrawPoses", "draw", "keypoints"),
        ("MatchBeat", "match", "audio"),
        ("CleanPlate", "clean", "images"),
        ("CleanPlate", "clean", "mask"),
        ("Sample", "sample", "positive"),
        ("Sample", "sample", "regions"),
        ("ApplyAppearanceToModel", "apply", "reference"),
    ],
)
def test_a_node_that_gets_it_says_one_sentence(node, given, name, method, socket):
    made = node(name)
    for what, value in FOREIGN.items():
        with pytest.raises(ValueError) as caught:
            getattr(made, method)(**given(type(made)) | {socket: value})
        sentence = str(caught.value)
        assert type(caught.value).__qualname__ == "InputError", (what, caught.value)
        assert sentence.isprintable() and len(sentence) < 400


def test_optional_sockets_may_be_empty(node, given):
    add = node("AddRegion")
    (regions,) = add.add(**given(type(add)) | {"reference_mask": None, "regions": None})
    assert len(regions) == 1


class LazySound(Mapping):
    """AUDIO that is decoded when it is read, as Video Helper Suite gives."""

    def __getitem__(self, key):
        return {"waveform": torch.rand(1, 1, 8000, generator=torch.Generator().manual_seed(0)), "sample_rate": 8000}[
            key
        ]

    def __iter__(self):
        return iter(("waveform", "sample_rate"))

    def __len__(self):
        return 2


def test_sound_may_be_any_mapping(pack):
    checks, values = (importlib.import_module(f"{pack.__name__}.nodes.socket_{name}") for name in ("checks", "values"))
    assert checks.KINDS["AUDIO"](LazySound())
    waveform, rate = values.to_sound(LazySound(), "audio")
    assert waveform.shape == (1, 8000) and rate == 8000
