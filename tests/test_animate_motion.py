"""animate with a motion module: streams, resuming after a kill, bad input."""

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from tqdm import tqdm

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.checkpoints import save_motion
from magicdance_core.checkpoints.tensors import write_tensors
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.models import MotionModule

POSES, STEPS = 14, 2


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    """A model with a motion module, the module alone, a reference and pose maps."""
    folder, tiny = tmp_path_factory.mktemp("motion"), make_tiny()
    torch.manual_seed(1)
    tiny.motion = MotionModule.for_unet(tiny.unet)
    pipeline.MagicDancePipeline(tiny).save_pretrained(folder / "model")
    save_motion(folder / "module.safetensors", tiny.motion)
    short = MotionModule.from_config({**tiny.motion.config, "motion_max_seq_length": 2})
    save_motion(folder / "short.safetensors", short)
    tiny.motion = None
    pipeline.MagicDancePipeline(tiny).save_pretrained(folder / "plain")
    scene = make_scene(0, range(POSES), 16)
    media.write_picture(folder / "person.png", scene.reference)
    for i, pose in enumerate(scene.poses):
        media.write_picture(folder / f"poses/{i:03d}.png", pose)
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    return tmp_path


def arguments(out, *more, model="model", windows=("--context", "6", "--overlap", "2")):
    given = ["animate", "--model", model, "--reference", "person.png", "--poses", "poses", "--out", str(out)]
    return [*given, "--size", "16", "--device", "cpu", "--steps", str(STEPS), *windows, *more]


def animate(out, *more, **options):
    return main(arguments(out, *more, **options))


def frames(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.png"))}


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    out, before = tmp_path_factory.mktemp("whole") / "out", os.getcwd()
    os.chdir(folder)
    try:
        assert animate(out) == 0
    finally:
        os.chdir(before)
    return frames(out)


def test_the_module_is_taken_from_the_model_or_a_file(work, whole):
    assert list(whole) == [f"{i:05d}.png" for i in range(POSES)]
    assert animate(work / "still", "--motion", "none") == 0 and frames(work / "still") != whole
    assert animate(work / "other", "--motion", "module.safetensors", model="plain") == 0
    assert frames(work / "other") == whole


def until_killed(moment, command):
    """Run a command in a process of its own that dies as soon as a frame is written; the signal that ended it."""
    child = os.fork()
    if child == 0:
        tqdm.set_lock(threading.RLock())  # the usual one is shared with children, and one killed may hold it for good
        write = media.write_picture

        def dying(path, picture):
            write(path, picture)
            if path.name == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        media.write_picture = dying
        main(command)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.skipif(sys.platform != "linux", reason="forks, which only Linux does safely")
def test_killed_again_and_again_it_ends_with_the_same_pixels(work, whole):
    for number, moment in enumerate(("00003.png", "00009.png")):
        command = arguments(work / "out", *["--resume"][:number])
        assert until_killed(moment, command) == signal.SIGKILL
        assert moment in frames(work / "out") and len(frames(work / "out")) < POSES
    assert animate(work / "out", "--resume") == 0
    assert frames(work / "out") == whole
    before = {path: path.stat().st_mtime_ns for path in (work / "out").glob("*.png")}
    assert animate(work / "out", "--resume") == 0
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_a_lost_frame_is_made_again(work, whole):
    assert animate(work / "out") == 0
    (work / "out" / "00003.png").unlink()
    assert animate(work / "out", "--resume") == 0 and frames(work / "out") == whole


def interrupted(out):
    """Begin a run and kill it after some frames."""
    assert until_killed("00009.png", arguments(out)) == signal.SIGKILL
    assert (out / "state.safetensors").is_file()


def damage_latent(state):
    state["latent"][0] += 0.1


def drop_windows(state):
    state["done"][0] -= 1


@pytest.mark.skipif(sys.platform != "linux", reason="forks, which only Linux does safely")
@pytest.mark.parametrize("change", [damage_latent, drop_windows, lambda state: state.pop("total")])
def test_a_changed_state_is_reported_and_the_run_starts_again(work, whole, caplog, change):
    interrupted(work / "out")
    file = work / "out" / "state.safetensors"
    with safe_open(file, "pt") as stored:
        state, metadata = {name: stored.get_tensor(name) for name in stored.keys()}, stored.metadata()
    change(state)
    write_tensors(file, state, metadata)
    assert animate(work / "out", "--resume") == 0 and frames(work / "out") == whole
    assert "state.safetensors is damaged or of another run: the run starts again at frame 0" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="forks, which only Linux does safely")
def test_a_state_of_another_run_is_not_used(work, caplog):
    interrupted(work / "out")
    assert animate(work / "other", "--seed", "1") == 0
    expected = frames(work / "other")
    (work / "other" / "00013.png").unlink()
    shutil.copy(work / "out" / "state.safetensors", work / "other")
    assert animate(work / "other", "--resume", "--seed", "1") == 0 and frames(work / "other") == expected
    assert "damaged or of another run" in caplog.text


@pytest.mark.parametrize("damage", [lambda png: png[:0], lambda png: png[:-20], lambda png: b"x" * len(png)])
def test_an_incomplete_frame_is_made_again(work, whole, damage):
    assert animate(work / "out") == 0
    frame = work / "out" / "00003.png"
    frame.write_bytes(damage(frame.read_bytes()))
    assert animate(work / "out", "--resume") == 0 and frames(work / "out") == whole


def test_two_runs_do_not_write_to_one_folder(work, capsys):
    (work / "out").mkdir()
    with FileLock(work / "out" / ".lock"):
        assert animate(work / "out") == 2
        assert "Another run is writing to" in capsys.readouterr().err and not frames(work / "out")
    assert animate(work / "out", "--limit", "3") == 0
    assert not (work / "out" / ".lock").exists()


def test_resuming_with_other_settings_is_refused(work, capsys):
    assert animate(work / "out") == 0
    assert animate(work / "out", "--resume", "--loop") == 2
    assert "begun with windows.closed False, not True" in capsys.readouterr().err
    assert json.loads((work / "out" / "settings.json").read_text())["frames"] == POSES


def test_resuming_without_the_module_or_in_another_order_is_refused(work, capsys):
    assert animate(work / "out", "--limit", "3") == 0
    assert animate(work / "out", "--resume", "--limit", "3", "--motion", "none", windows=()) == 2
    assert "begun with" in capsys.readouterr().err
    assert animate(work / "out", "--resume", "--limit", "3", "--quick") == 2
    assert "quick False, not True" in capsys.readouterr().err


def test_independent_noise_without_a_module(work, capsys):
    settings = {"model": "plain", "windows": ("--limit", "20")}

    def plain(out, *more):
        assert animate(work / out, *more, **settings) == 0
        return frames(work / out)

    shared, own = plain("shared"), plain("own", "--noise", "independent")
    assert shared.keys() == own.keys() and all(shared[name] != own[name] for name in shared)
    assert plain("same", "--noise", "shared") == shared
    assert animate(work / "shared", "--resume", "--noise", "independent", **settings) == 2
    assert animate(work / "loop", "--loop", "--stride", "2", **settings) == 2
    assert "--stride and --loop need a motion module" in capsys.readouterr().err


def test_a_closed_loop_is_written_to_a_file(work):
    loop = "--loop", "--random-starts", "--window-weights", "flat", "--stride", "2"
    assert animate(work / "loop.mp4", *loop, "--noise", "shared", "--limit", "9") == 0
    assert len(list(media.read_frames(work / "loop.mp4"))) == 9


def test_quick_makes_all_frames_and_keeps_no_state(work, whole):
    assert animate(work / "out", "--quick") == 0
    assert list(frames(work / "out")) == list(whole) and not (work / "out" / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--overlap", "6"], "overlap from 0 to 5"),
        (["--context", "0"], "--context"),
        (["--motion", "nowhere.ckpt"], "nowhere.ckpt does not exist"),
        (["--motion", "person.png"], "person.png"),
        (["--motion", ""], "names no file"),
        (["--motion", "short.safetensors"], "the motion module supports 2"),
        (["--motion", "embedded"], "The motion module has the widths [64, 128, 128]"),
        (["--motion", "none", "--motion-lora", "short.safetensors"], "there is none"),
        (["--motion-lora", "short.safetensors"], "not a LoRA for a motion module"),
        (["--motion-strength", "-1"], "strength is -1"),
        (["--noise", "pink"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(work, capsys, monkeypatch, more, words):
    monkeypatch.setattr(pipeline, "EMBEDDED", work)
    assert animate(work / "out", *more, "--limit", "3") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if words in line]
    assert "Traceback" not in line and not (work / "out").exists()
