import dataclasses
import json
import os
import shutil
import signal

import pytest
import torch
from processes import in_processes
from safetensors.torch import load_file

from magicdance_core.errors import InputError
from magicdance_core.training import engine, run_folder
from magicdance_core.training.engine import train


def weights(model):
    return {f"{n}.{k}": v for n, net in model.networks().items() for k, v in net.state_dict().items()}


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def logged(out):
    """Stage and step of each loss in the log."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(record["stage"], record["step"]) for record in records if "loss" in record]


def test_every_stage_trains_what_it_names_and_logs_it(smoke, finished):
    out, model = finished
    assert logged(out) == [(stage.name, stage.steps) for stage in smoke.stages]
    assert abs(model.vae.config.scaling_factor - 0.18215) > 0.01
    assert all(torch.isfinite(w).all() for w in weights(model).values())
    for number, stage in enumerate(smoke.stages):
        learned = load_file(out / "stages" / f"{number:02d}-{stage.name}.safetensors")
        assert {name.split(".")[0] for name in learned} == set(stage.train)
    assert not list(out.glob("states/*"))


def test_repeating_a_finished_run_changes_nothing(smoke, finished, tmp_path):
    out, model = tmp_path / "run", finished[1]
    shutil.copytree(finished[0], out)
    final = out / "final" / "model.safetensors"
    before = final.read_bytes()
    final.unlink()  # as after a kill between the last stage and the export
    again = train(smoke, out, "cpu")
    assert final.read_bytes() == before
    assert again.vae.config.scaling_factor == model.vae.config.scaling_factor
    assert_equal(weights(again), weights(model))


def _until_killed(config, out, moment):
    """Train; kill -9 in the n-th training step (n > 0), or while the n-th state is saved (n < 0)."""
    left = abs(moment)

    def count(real):
        def counting(*arguments):
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        return counting

    if moment > 0:
        engine._accumulate = count(engine._accumulate)
    else:
        run_folder.torch.save = count(torch.save)
    train(config, out, "cpu")


def test_a_run_killed_several_times_ends_with_the_same_bytes(smoke, finished, tmp_path):
    for moment in (5, -2, 6):
        assert in_processes(_until_killed, smoke, tmp_path, moment) == [-signal.SIGKILL]
    assert_equal(weights(train(smoke, tmp_path, "cpu")), weights(finished[1]))
    made, expected = (out / "final" / "model.safetensors" for out in (tmp_path, finished[0]))
    assert made.read_bytes() == expected.read_bytes()
    assert logged(tmp_path) == [(stage.name, stage.steps) for stage in smoke.stages]


@pytest.fixture(scope="module")
def stopped(one_stage, finished, tmp_path_factory):
    """A configuration of three steps, and the folder of its run, interrupted after the last of them."""
    config, out = one_stage("appearance", steps=3, save_every=2), tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_finish_stage", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config, out, "cpu", finished[0] / "cache")
    return config, out


def test_a_saved_state_holds_only_weights_that_learn(stopped):
    (state,) = (stopped[1] / "states").iterdir()
    saved = load_file(state / "weights.safetensors")
    assert saved and all(name.startswith("appearance.") for name in saved)
    assert len(load_file(state / "average.safetensors")) == len(saved)
    assert json.loads((state / "state.json").read_text())["threads"] == 1


def test_frozen_networks_do_not_change_and_stages_start_from_the_unet(smoke, finished, tmp_path):
    stages = [
        dataclasses.replace(smoke.stages[1], steps=2),
        dataclasses.replace(smoke.stages[2], steps=1, learning_rate=0.0, ema=0.0),
    ]
    model = train(dataclasses.replace(smoke, stages=stages), tmp_path, "cpu", finished[0] / "cache")
    unet, appearance = model.unet.state_dict(), model.appearance.state_dict()
    assert all(torch.equal(appearance[name], unet[name]) for name in appearance)
    assert torch.equal(model.pose.state_dict()["conv_in.weight"], unet["conv_in.weight"])


def _train(config, out, cache):
    train(config, out, "cpu", cache)


def test_two_processes_reach_the_weights_of_one(one_stage, finished, tmp_path):
    config = one_stage("pose", steps=2, references=4, per_pass=1, optimizer="adamw", clip=1.0, ema=0.0)
    cache = finished[0] / "cache"
    assert in_processes(_train, config, tmp_path / "two", cache, number=2) == [0, 0]
    whole = dataclasses.replace(config, stages=[dataclasses.replace(config.stages[0], per_pass=4)])
    train(whole, tmp_path / "one", "cpu", cache)
    one, two = (load_file(tmp_path / name / "stages" / "00-pose.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], rtol=1e-4, atol=2e-5), name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"data": {"identities": 7}}, r"data.identities was 6 and is 7"),
        ({"stages": {"steps": 7}}, r"stages\[0\].steps was 4 and is 7"),
    ],
)
def test_a_run_folder_refuses_another_configuration(smoke, finished, change, words):
    if "data" in change:
        change = {"data": dataclasses.replace(smoke.data, **change["data"])}
    if "stages" in change:
        change = {"stages": [dataclasses.replace(smoke.stages[0], **change["stages"]), *smoke.stages[1:]]}
    with pytest.raises(InputError, match=words):
        train(dataclasses.replace(smoke, **change), finished[0], "cpu")


def test_a_folder_without_results_takes_another_configuration(one_stage, tmp_path):
    """A mistake that is found after the folder was made can be corrected in the same folder."""
    wrong = one_stage("unet", data={"kind": "videos", "folder": str(tmp_path)})
    with pytest.raises(InputError, match="is not a data set"):
        train(wrong, tmp_path / "run", "cpu")
    run_folder.RunFolder(tmp_path / "run").claim(one_stage("unet"))
    (tmp_path / "run" / "states" / "00-00000001").mkdir(parents=True)
    with pytest.raises(InputError, match="data.kind was puppets and is videos"):
        run_folder.RunFolder(tmp_path / "run").claim(wrong)


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_the_batch(one_stage, finished, tmp_path):
    config = one_stage("unet", steps=40, learning_rate=10.0, optimizer="adamw", decay=0.0)
    with pytest.raises(InputError, match="loss of unet is (nan|inf) in step .*videos .* batch is saved in"):
        train(config, tmp_path, "cpu", finished[0] / "cache")
    (batch,) = tmp_path.glob("failed-batch-*.safetensors")
    assert {"latents", "noise", "timestep", "video"} <= load_file(batch).keys()


def test_a_damaged_state_is_named(stopped, finished, tmp_path):
    config, out = stopped
    shutil.copytree(out, tmp_path / "run")
    (state,) = (tmp_path / "run" / "states").iterdir()
    (state / "optimizers.pt").write_bytes(b"no")
    with pytest.raises(InputError, match="is damaged .*remove it"):
        train(config, tmp_path / "run", "cpu", finished[0] / "cache")


def test_a_full_disk_keeps_the_last_state(one_stage, finished, tmp_path, monkeypatch):
    config, cache = one_stage("appearance", steps=3, save_every=1), finished[0] / "cache"
    saves = []

    def full(*arguments, real=run_folder.torch.save):
        saves.append(arguments)
        if len(saves) == 2:
            raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device")
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder.torch, "save", full)
        with pytest.raises(InputError, match="Cannot write .*No space left"):
            train(config, tmp_path, "cpu", cache)
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["00-00000001"]
    train(config, tmp_path, "cpu", cache)
    with pytest.raises(InputError, match="config.json"):
        train(config, tmp_path / "config.json", "cpu")
