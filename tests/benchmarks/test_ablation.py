"""The ablation of the training recipe: every part runs, and is not run twice."""

import functools
import json

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import ablation
from benchmarks.ablation import RECIPES, Ablation, Size
from magicdance_core.checkpoints import ROLES, load, save_folder, save_published


@pytest.fixture(scope="module")
def model(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "model"
    save_folder(folder, make_tiny("v_prediction"))
    return folder


@pytest.fixture(scope="module")
def done(model):
    """The ablation of one seed, and its scores."""
    one = Ablation(model.parent / "out", Size(1, 1, identities=2, people=1, frames=1), 0, model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "TEST_STEPS", 1)
        patch.setattr(ablation, "StageConfig", functools.partial(ablation.StageConfig, references=1, targets=1))
        return one, one.run()


def test_recipes_train_the_networks_that_they_name(done, model):
    one, scores = done
    assert list(scores) == [variant.name for variant in RECIPES]
    assert all(s["psnr"][0] > 0 and s["psnr_head"][0] > 0 for s in scores.values())
    assert {s["psnr_copy"][0] for s in scores.values()} == set(scores["full recipe"]["psnr_copy"])
    assert scores["no guidance by the image"]["psnr"] != scores["full recipe"]["psnr"]
    files = {path.parent.parent.name for path in one.out.glob("*/final/model.safetensors")}
    assert files == {
        "appearance", "full", "whole-maps", "joint-only", "frozen", "pose-only", "apart-appearance", "apart",
    }  # fmt: skip
    assert len(list((one.out / "pictures").glob("*.png"))) == len(RECIPES)

    models = {name: load_file(one.out / name / "final" / "model.safetensors") for name in files}
    models["base"] = load_file(one.out / "base.safetensors")
    save_published(one.out / "given.safetensors", load(model))
    models["given"] = load_file(one.out / "given.safetensors")

    def same(a, b, role):
        a, b = ({k: w for k, w in models[name].items() if k.startswith(ROLES[role].prefix)} for name in (a, b))
        assert a and a.keys() == b.keys()
        return all(torch.equal(a[key], b[key]) for key in a)

    assert all(same(name, "given", role) for name in files for role in ("unet", "vae"))
    assert not same("base", "given", "pose") and same("pose-only", "base", "appearance")
    assert same("appearance", "base", "pose") and not same("appearance", "base", "appearance")
    assert same("frozen", "appearance", "appearance") and not same("frozen", "base", "pose")
    assert not same("full", "appearance", "appearance") and not same("full", "base", "pose")


def test_only_the_row_without_augmentation_is_trained_on_whole_maps(done):
    one, _ = done
    stages = {f.parent.name: json.loads(f.read_text())["stages"][0] for f in one.out.glob("*/config.json")}
    masked = {name for name, stage in stages.items() if stage["mask_face"] == stage["mask_hand"] == 0.2}
    assert masked == {"full", "joint-only", "frozen", "pose-only", "apart"}


def test_no_pretraining_takes_as_much_arithmetic(done):
    one, _ = done
    steps = json.loads((one.out / "joint-only" / "config.json").read_text())["stages"][0]["steps"]
    assert steps == one._equal_steps() and 1 <= steps <= 2


def test_finished_parts_are_not_run_again(done, monkeypatch):
    one, scores = done
    monkeypatch.setattr(ablation, "train", None)
    monkeypatch.setattr(ablation, "evaluate_puppets", None)
    assert one.run() == scores
    paper = [recipe for recipe in RECIPES if recipe.published]
    assert list(one.run(paper)) == [recipe.name for recipe in paper] and len(paper) == 5


def test_another_ablation_needs_another_folder(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Ablation, "run", lambda self, recipes: {})
    monkeypatch.setattr(ablation, "write_tables", lambda *parts: "")
    arguments = ["--out", str(tmp_path / "a"), "--model", str(model)]
    assert ablation.main(arguments) == 0 and ablation.main(arguments) == 0
    assert ablation.main([*arguments, "--scale", "2"]) == 2
    assert "holds an ablation whose appearance is 120, not 240" in capsys.readouterr().err
