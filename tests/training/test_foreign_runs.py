"""Run folders of strangers, or after an accident: what does not agree is a sentence, never a broken model."""

import json
import math
import os
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from magicdance_core import train as command
from magicdance_core.checkpoints import tensors
from magicdance_core.errors import InputError
from magicdance_core.training import engine
from magicdance_core.training.engine import train
from magicdance_core.training.report import write_report
from magicdance_core.training.run_folder import RunFolder
from magicdance_core.training.stored import check_optimizer


@pytest.fixture(scope="module")
def runs(one_stage, smoke, finished, tmp_path_factory):
    """A configuration with one run interrupted after its state of step 2, and one finished; and their cache."""
    config, folder = one_stage("appearance", steps=3, save_every=2), tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_finish_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config, folder / "stopped", "cpu", finished[0] / "cache")
    shutil.copytree(folder / "stopped", folder / "done")
    train(config, folder / "done", "cpu", finished[0] / "cache")
    return config, folder, finished[0] / "cache"


def damaged_state(runs, tmp_path, edit, words):
    config, folder, cache = runs
    shutil.copytree(folder / "stopped", tmp_path / "run")
    (state,) = (tmp_path / "run" / "states").iterdir()
    edit(state)
    with pytest.raises(InputError, match=rf"The state .* is damaged \(.*{words}.*\): remove it") as error:
        train(config, tmp_path / "run", "cpu", cache)
    assert "\n" not in str(error.value) and not (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize(
    "facts, words",
    [
        ({"step": 3}, "is of step 3"),
        ({"step": "2"}, "step is '2': give a whole number"),
        ({"step": None}, "step is None"),
        ({"average_steps": 7}, "7 averages after 2 of 3 steps"),
        ({"threads": 0}, "threads is 0"),
        ({"more": 1}, "key 'more' is unknown"),
        ([], "keys and values"),
    ],
)
def test_wrong_facts_of_a_state_are_named(runs, tmp_path, facts, words):
    def edit(state):
        before = json.loads((state / "state.json").read_text())
        (state / "state.json").write_text(json.dumps(before | facts if facts else facts))

    damaged_state(runs, tmp_path, edit, words)


def _nan(weights):
    first = next(iter(weights))
    return weights | {first: torch.full_like(weights[first], math.nan)}


@pytest.mark.parametrize("name", ["weights", "average"])
@pytest.mark.parametrize(
    "edit, words",
    [
        (_nan, "not finite"),
        (lambda weights: dict(list(weights.items())[1:]), "names|'0'"),
        (lambda weights: {key: weight[None] for key, weight in weights.items()}, "instead of|other shapes"),
        (lambda weights: {key: weight.long() for key, weight in weights.items()}, "dtype int64"),
    ],
)
def test_wrong_tensors_of_a_state_are_named(runs, tmp_path, name, edit, words):
    def change(state):
        save_file(edit(load_file(state / f"{name}.safetensors")), state / f"{name}.safetensors")

    damaged_state(runs, tmp_path, change, f"({words})")


@pytest.mark.parametrize("kind", ["link", "pipe", "bytes", "missing"])
def test_a_state_whose_files_are_no_files_is_refused(runs, tmp_path, kind):
    config, folder, cache = runs
    shutil.copytree(folder / "stopped", tmp_path / "run")
    file = next((tmp_path / "run" / "states").iterdir()) / "optimizers.pt"
    file.unlink()
    if kind == "link":
        file.symlink_to("/etc/passwd")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "bytes":
        file.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputError, match="leads out of the folder|neither a file|is damaged"):
        train(config, tmp_path / "run", "cpu", cache)


def optimizer():
    weight, bias = torch.nn.Parameter(torch.zeros(2, 3)), torch.nn.Parameter(torch.zeros(3))
    made = torch.optim.AdamW([weight, bias], lr=0.1)
    (weight.sum() + bias.sum()).backward()
    made.step()
    return made


@pytest.mark.parametrize(
    "edit, words",
    [
        (lambda saved: 3, "other groups"),
        (lambda saved: {"state": {}}, "other groups"),
        (lambda saved: {"state": {}, "param_groups": [{"params": [0]}]}, "other groups"),
        (lambda saved: saved["state"].__setitem__(9, {}), "unknown parameter"),
        (lambda saved: saved["state"][0].pop("exp_avg"), "other names"),
        (lambda saved: saved["state"][0].update(exp_avg=torch.full((2, 3), math.inf)), "not finite"),
        (lambda saved: saved["state"][0].update(exp_avg=torch.zeros(3, 2)), "another shape"),
        (lambda saved: saved["state"][0].update(exp_avg_sq=-torch.ones(2, 3)), "negative"),
        (lambda saved: saved["state"][0].update(step=torch.tensor(-1.0)), "negative"),
        (lambda saved: saved["state"][0].update(step="one"), "no tensor"),
    ],
)
def test_wrong_optimizer_states_are_refused(edit, words):
    import copy

    made = optimizer()
    saved = copy.deepcopy(made.state_dict())
    check_optimizer(saved, made)
    changed = edit(saved)
    with pytest.raises(InputError, match=words):
        check_optimizer(changed if isinstance(changed, (int, dict)) and changed != {} else saved, made)


def test_the_settings_of_an_optimizer_are_those_of_the_configuration():
    from magicdance_core.training.optimizer import load_optimizer

    made = optimizer()
    saved = made.state_dict()
    saved["param_groups"][0] |= {"betas": (math.nan, 0.9), "weight_decay": math.inf}
    load_optimizer(made, saved)
    assert made.param_groups[0]["betas"] == (0.9, 0.999) and made.param_groups[0]["weight_decay"] == 0.01


def rewrite(file, edit=lambda weights: weights, **facts):
    with safe_open(file, framework="pt") as opened:
        stored = json.loads(opened.metadata()["magicdance_stage"]) | facts
    save_file(edit(load_file(file)), file, {"magicdance_stage": json.dumps(stored)})


@pytest.mark.parametrize(
    "change",
    [
        lambda file: rewrite(file, _nan),
        lambda file: rewrite(file, lambda weights: dict(list(weights.items())[1:])),
        lambda file: rewrite(file, lambda weights: weights | {"unet.more": torch.zeros(1)}),
        lambda file: rewrite(file, lambda weights: {key: weight[None] for key, weight in weights.items()}),
        lambda file: rewrite(file, steps=7),
        lambda file: rewrite(file, scaling_factor=1.0),
        lambda file: rewrite(file, scaling_factor=0),
        lambda file: rewrite(file, scaling_factor="big"),
        lambda file: save_file(load_file(file), file),
        lambda file: file.write_bytes(b"no"),
    ],
)
def test_a_result_that_is_not_of_its_stage_is_never_exported(runs, tmp_path, change):
    config, folder, cache = runs
    shutil.copytree(folder / "done", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "final")
    change(tmp_path / "run" / "stages" / "00-appearance.safetensors")
    with pytest.raises(InputError, match="remove it and later files, and the stage is trained again"):
        train(config, tmp_path / "run", "cpu", cache)
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize("factor", [0, -1, "0.18", None, math.inf, 1e9])
def test_a_scaling_factor_of_a_stage_is_a_number_in_its_range(smoke, finished, tmp_path, factor):
    shutil.copytree(finished[0], tmp_path / "run", ignore=shutil.ignore_patterns("final", "cache"))
    rewrite(tmp_path / "run" / "stages" / "00-vae.safetensors", scaling_factor=factor)
    with pytest.raises(InputError, match="00-vae.safetensors"):
        train(smoke, tmp_path / "run", "cpu", finished[0] / "cache")
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize("data", [b"", b"\xff" * 200, None])
def test_a_damaged_final_model_is_written_again(runs, tmp_path, caplog, data):
    config, folder, cache = runs
    shutil.copytree(folder / "done", tmp_path / "run")
    final = tmp_path / "run" / "final" / "model.safetensors"
    whole = final.read_bytes()
    final.write_bytes(whole[:-100] if data is None else data)
    train(config, tmp_path / "run", "cpu", cache)
    assert final.read_bytes() == whole
    assert "it is written again" in caplog.text


def test_an_export_that_does_not_load_gets_no_name(runs, tmp_path, monkeypatch):
    config, folder, cache = runs
    shutil.copytree(folder / "done", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "final")
    save = engine.save_published

    def broken(path, components, dtype):
        torch.nn.init.constant_(components.unet.conv_in.weight, math.nan)
        save(path, components, dtype)

    monkeypatch.setattr(engine, "save_published", broken)
    with pytest.raises(InputError, match=r"The trained model cannot be used \(.*not finite.*\): lower learning_rate"):
        train(config, tmp_path / "run", "cpu", cache)
    assert not list((tmp_path / "run").rglob("model.safetensors")) and not list((tmp_path / "run").glob(".*"))


@pytest.mark.parametrize(
    "text",
    [b"\xff\xfe{", b"[]\n3\nnull\n", b'{"stage": 1, "step": 2}\n', b'{"stage": "appearance", "step": 1, "loss": "x"}\n',
     b'{"stage": "appearance", "step": 1, "loss": NaN}\n', b"[" * 100_000 + b"\n", b'{"stage": "x", "step": -1}\n'],
)  # fmt: skip
def test_damaged_lines_of_the_log_are_left_out(runs, tmp_path, text):
    config, folder, _ = runs
    run = RunFolder(tmp_path / "run")
    shutil.copytree(folder / "done", run.path)
    before = run.records()
    with run.log.open("ab") as file:
        file.write(text)
    assert before and run.records() == before
    write_report(config, run, "animate")
    run.cut_log([], "appearance", 10)
    assert [json.loads(line) for line in run.log.read_text().splitlines()] == before


@pytest.mark.parametrize("name", ["log.jsonl", "report.html", "cache", "pictures", "final", "states", "stages"])
def test_a_run_folder_with_a_link_out_of_it_is_refused(runs, tmp_path, name):
    config, folder, cache = runs
    shutil.copytree(folder / "done", tmp_path / "run")
    path, outside = tmp_path / "run" / name, tmp_path / "outside"
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    outside.mkdir()
    path.symlink_to(outside)
    with pytest.raises(InputError, match="leads out of the folder|is in the way"):
        train(config, tmp_path / "run", "cpu")
    assert not any(outside.iterdir())


@pytest.mark.parametrize(
    "edit",
    [lambda f: f.write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '|O'"), "dtype", "nan"],
)
def test_damaged_caches_are_a_sentence(runs, tmp_path, edit):
    import numpy as np

    config, _, cache = runs
    shutil.copytree(cache, tmp_path / "cache")
    for file in (tmp_path / "cache").glob("latents-*/latents.npy"):
        shape = np.load(file).shape
        if edit == "dtype":
            np.save(file, np.zeros(shape, np.float64))
        elif edit == "nan":
            np.save(file, np.full(shape, np.nan, np.float16))
        else:
            edit(file)
    with pytest.raises(InputError, match="remove it, and it is made again"):
        train(config, tmp_path / "run", "cpu", tmp_path / "cache")


@pytest.mark.parametrize(
    "change",
    ["data.size=33", "stages.0.crop=31", "networks.unet.no_such_key=1", "networks.vae.block_out_channels=[7]",
     "context=[1, 5]",
     "stages.2.references=65536", "stages.3.stride=900", "trackers=[nothing]",
     "data.kind=videos", "stages.0.no_such_key=1", "stages.2.rollout_steps=1000"],
)  # fmt: skip
def test_what_is_refused_leaves_no_folder(tmp_path, capsys, change):
    arguments = ["smoke", "--out", str(tmp_path / "run"), "--device", "cpu", "--set", change]
    assert command.main([*arguments, "--set", f"data.folder={tmp_path}"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("train: ") and message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_an_archive_that_would_not_end_is_no_optimizer_state(runs, tmp_path):
    import zipfile

    def edit(state):
        with zipfile.ZipFile(state / "optimizers.pt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(2 * tensors.MAX_SLACK))

    damaged_state(runs, tmp_path, edit, "would unpack to")
