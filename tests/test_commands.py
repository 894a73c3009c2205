"""The commands as their users meet them: results, resumption, and one clear line for each mistake."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.evaluation.puppet_scores import make_scene

REPOSITORY = Path(__file__).parent.parent
POSES = 18  # more than a chunk


@pytest.fixture(scope="module")
def prepared(make_tiny, tmp_path_factory):
    """A folder with a tiny model, a reference and pose maps."""
    folder, scene = tmp_path_factory.mktemp("prepared"), make_scene(0, range(POSES), 48)
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    media.write_picture(folder / "person.png", scene.reference)
    for i, pose in enumerate(scene.poses):
        media.write_picture(folder / f"poses/{i:03d}.png", pose.crop((8, 0, 40, 48)))
    return folder


@pytest.fixture
def work(prepared, tmp_path, monkeypatch):
    """A current folder of its own with all that; the model is also the embedded one."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "EMBEDDED", tmp_path / "model")
    return tmp_path


def animate(out, *more, model="model", reference="person.png", poses="poses"):
    arguments = ["--model", model, "--reference", reference, "--poses", poses, "--out", str(out), "--device", "cpu"]
    return main(["animate", *arguments, "--steps", "2", *map(str, more)])


def frames(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("*.png"))}


def one_line(capsys) -> str:
    """What a failed command said, which has to be a single line."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("magicdance")]
    assert len(lines) == 1
    return lines[0]


# animate


def test_animate_makes_numbered_frames(work):
    assert animate("out", "--limit", 3) == 0
    made = frames("out")
    assert list(made) == ["00000.png", "00001.png", "00002.png"] and len(set(made.values())) == 3
    with Image.open("out/00000.png") as image:
        assert image.size == (24, 40) and image.mode == "RGB"  # the poses' shape with the pixels of 32 x 32


@pytest.mark.parametrize("name", ["a.gif", "a.mp4", "a.webp"])
def test_animate_makes_a_file(work, name):
    assert animate(name, "--limit", 3, "--fps", 12.5) == 0
    result = media.read_frames(name)
    assert [frame.size for frame in result] == [(24, 40)] * 3 and result.fps == pytest.approx(12.5)


def test_keeping_the_shape(work):
    assert animate("out", "--limit", 1, "--fit", "keep", "--size", 16) == 0
    with Image.open("out/00000.png") as image:
        assert image.size == (16, 24)


def test_the_published_square(work, capsys):
    assert animate("out", "--limit", 1, "--fit", "square") == 0
    assert "poses of 32 x 48 pixels cropped by 8 top, 8 bottom\n" in capsys.readouterr().out
    with Image.open("out/00000.png") as image:
        assert image.size == (32, 32)


def test_what_a_square_has_already_is_the_same_either_way(work, capsys):
    for pose in media.read_frames("poses"):
        media.write_picture("whole/0.png", pose.resize((48, 48)))
    assert animate("a", poses="whole") == animate("b", "--fit", "square", poses="whole") == 0
    assert frames("a") == frames("b") and "cropped" not in capsys.readouterr().out


def test_poses_are_cropped_around_the_person(work, capsys):
    tall = Image.new("RGB", (40, 62))
    for top, colour in ((0, (255, 0, 0)), (10, (0, 255, 0)), (20, (0, 0, 255))):
        tall.paste(colour, (10, top, 20, top + 10))
    media.write_picture("tall/0.png", tall)
    assert animate("out", poses="tall") == 0
    assert "poses of 40 x 62 pixels cropped by " in (said := capsys.readouterr().out) and " top" not in said


def test_presets_and_what_they_are_made_of(work, capsys):
    assert animate("plain", "--limit", 1) == animate("fast", "--limit", 1, "--preset", "fast", "--pose-every", 2) == 0
    plain, fast = (json.loads(Path(name, "settings.json").read_text()) for name in ("plain", "fast"))
    assert {key for key in plain if plain[key] != fast[key]} == {"scheduler", "shortcuts"}
    assert fast["shortcuts"] == {"guidance": [0.5, 1.0], "reference_every": 1, "pose_every": 2}
    assert frames("plain") != frames("fast")
    assert animate("wrong", "--guidance-range", 0.8, 0.2) == 2
    assert "give 0 <= start <= end <= 1" in one_line(capsys)


def test_an_interrupted_run_resumes_to_the_same_frames(work, monkeypatch, capsys):
    assert animate("whole") == 0
    write = media.write_picture

    def interrupted(path, picture):
        if Path(path).name == "00005.png":
            raise KeyboardInterrupt
        write(path, picture)

    with monkeypatch.context() as patch:
        patch.setattr(media, "write_picture", interrupted)
        assert animate("parts") == 130
    assert "--resume" in one_line(capsys)
    assert list(frames("parts")) == [f"{i:05d}.png" for i in range(5)]

    before = {path: path.stat().st_mtime_ns for path in Path("parts").glob("*.png")}
    assert animate("parts", "--resume") == 0
    assert frames("parts") == frames("whole") and len(frames("parts")) == POSES
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_nothing_is_made_twice(work, monkeypatch):
    assert animate("out", "--limit", 4) == 0
    monkeypatch.setattr(pipeline.MagicDancePipeline, "stream", lambda *a, **k: pytest.fail("generated again"))
    assert animate("out", "--limit", 4, "--resume") == 0


def test_seeds_and_batches(work):
    assert animate("a", "--limit", 2) == animate("b", "--limit", 2, "--seed", 1) == 0
    assert animate("c", "--limit", 2, "--frames-per-batch", 1) == 0
    one, other, batched = (list(media.read_frames(name)) for name in "abc")
    assert one[0].tobytes() != other[0].tobytes()
    assert max(abs(a - b) for a, b in zip(one[0].tobytes(), batched[0].tobytes())) <= 1


def test_resuming_with_other_settings_is_refused(work, capsys):
    assert animate("out", "--limit", 1) == 0
    assert animate("out", "--limit", 1, "--resume", "--seed", 7) == 2
    assert "begun with seed 0, not 7" in one_line(capsys)


def test_a_folder_in_use_is_not_overwritten(work, capsys):
    assert animate("poses") == 2
    assert "poses is the poses, which the result would replace" in one_line(capsys)
    shutil.copytree("poses", "others")
    assert animate("others") == 2
    assert "not empty" in one_line(capsys)
    assert animate("others", "--resume") == 2
    assert "cannot be resumed" in one_line(capsys)
    assert animate("a.gif", "--resume") == 2
    assert "Only a folder" in one_line(capsys)
    assert len(os.listdir("poses")) == len(os.listdir("others")) == POSES


@pytest.mark.parametrize(
    "change, words",
    [
        ({"reference": "no.png"}, "no.png does not exist"),
        ({"reference": "model/model_index.json"}, "cannot be read as a picture"),
        ({"reference": "poses"}, "cannot be read as a picture"),
        ({"poses": "model/unet"}, "config.json: Frame 0 of the pose keypoints lacks"),
        ({"poses": "nothing"}, "has no pictures"),
        ({"poses": "empty.json"}, "no pose frames"),
        ({"poses": "noise.mp4"}, "noise.mp4 cannot be read as a video"),
        ({"model": "nowhere"}, "no model nowhere"),
        ({"model": "person.png"}, "person.png"),
        ({"model": "foreign.safetensors"}, "foreign.safetensors"),
        ({"model": "cut.safetensors"}, "cut.safetensors"),
        ({"model": "cut.th"}, "cut.th"),
        ({"more": ["--size", "30"]}, "multiple of 8"),
        ({"more": ["--steps", "0"]}, "--steps"),
        ({"more": ["--steps", "5000"]}, "5000"),
        ({"more": ["--guidance", "nan"]}, "not finite"),
        ({"more": ["--device", "abacus"]}, "device abacus"),
        ({"more": ["--seed", "-1"]}, "--seed"),
        ({"out": "a.xyz"}, "suffix"),
        ({"out": "person.png/out"}, "person.png"),
        ({"out": "person.png/a.gif"}, "Cannot write"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(work, capsys, change, words):
    import torch
    from safetensors.torch import save_file

    Path("empty.json").write_text("[]")
    Path("nothing").mkdir()
    Path("noise.mp4").write_bytes(os.urandom(3000))
    save_file({"lora_unet.weight": torch.zeros(4, 4)}, "foreign.safetensors")
    Path("cut.safetensors").write_bytes(Path("foreign.safetensors").read_bytes()[:60])
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, "cut.th")
    Path("cut.th").write_bytes(Path("cut.th").read_bytes()[:1000])
    before = sorted(os.listdir())
    out, more = change.get("out", "out"), change.get("more", [])
    inputs = {key: value for key, value in change.items() if key not in ("out", "more")}
    assert animate(out, *more, **inputs) == 2
    assert words in one_line(capsys)
    assert sorted(os.listdir()) == before


def test_a_model_without_controls_is_refused(work, tiny, capsys):
    tiny.appearance = tiny.pose = None
    pipeline.MagicDancePipeline(tiny).save_pretrained("plain")
    assert animate("out", model="plain") == 2
    assert "has no Appearance Control Model: leave out --reference" in one_line(capsys)


def test_a_full_disk_keeps_whole_frames_and_resumes(work, monkeypatch, capsys):
    write = Path.write_bytes

    def filling_up(path, data):
        if "00002.png" in path.name:
            return write(path, data[:100])  # as a system does that has room for no more
        return write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", filling_up)
        assert animate("out", "--limit", 4) == 2
    assert "Cannot write out/00002.png: No space left" in one_line(capsys)
    assert sorted(os.listdir("out")) == ["00000.png", "00001.png", "settings.json"]
    assert animate("out", "--limit", 4, "--resume") == 0
    assert len(frames("out")) == 4


# convert


def test_convert(work):
    assert main(["convert", "model", "small.safetensors", "--dtype", "float16"]) == 0
    assert animate("out", "--limit", 1, model="model") == 0
    assert Path("small.safetensors").stat().st_size > 0


def test_convert_refuses_what_it_cannot_read_or_write(work, capsys):
    assert main(["convert", "person.png", "a.safetensors"]) == 2
    assert "person.png" in one_line(capsys)
    assert main(["convert", "model", "person.png/a.safetensors"]) == 2
    assert "person.png" in one_line(capsys)
    assert not Path("a.safetensors").exists()


# evaluate


def test_evaluate_a_folder_against_itself(work, capsys):
    assert main(["evaluate", "poses", "poses", "--json", "scores.json"]) == 0
    scores = json.loads(Path("scores.json").read_text())
    assert scores["frames"] == POSES and scores["psnr"] == 100 and scores["ssim"] == pytest.approx(1)
    assert scores["l1"] == scores["l1_published"] == scores["resized"] == 0
    assert "psnr" in capsys.readouterr().out


def test_evaluate_the_embedded_model(work):
    arguments = ["--identities", "2", "--frames", "2", "--steps", "2", "--sheet", "sheet.png", "--json", "scores.json"]
    assert main(["evaluate", "--embedded", "--seed", "3", "--device", "cpu", "--out", "tables", *arguments]) == 0
    assert Path("tables/table.csv").read_text().count("\n") == 5 and "generated" in Path("tables/table.tex").read_text()
    scores = json.loads(Path("scores.json").read_text())
    kinds = {f"{name}{ending}" for name in ("psnr", "ssim", "psnr_moving") for ending in ("", "_copy", "_vae")}
    kinds |= {kind + ending for kind in ("expression", "identity", "psnr_hands") for ending in ("", "_vae")}
    assert kinds < set(scores) and all(isinstance(scores[kind], float) for kind in kinds)
    assert (scores["seed"], scores["identities"], scores["frames"], scores["size"]) == (3, 2, 4, 32)
    assert Image.open("sheet.png").width > 4 * 192


def test_evaluate_methods_in_one_table(work, capsys):
    for name in ("truth", "ours", "theirs"):
        for i, pose in enumerate(make_scene(0, range(3), 32).truth):
            media.write_picture(f"{name}/dance/{i}.png", pose if name != "theirs" else pose.rotate(90))
    arguments = ["evaluate", "--truth", "truth", "--method", "ours=ours", "--json", "all.json"]
    assert main([*arguments, "--method", "theirs=theirs", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "1 video, 3 frames, protocol: correct" in out and "ours less theirs" in out and "needs" not in out
    scores = json.loads(Path("all.json").read_text())["methods"]
    assert scores["ours"]["psnr"] == 100 > scores["theirs"]["psnr"]
    Path("weights").mkdir()
    assert main([*arguments, "--method", "gone=gone", "--weights", "weights", "--protocol", "published"]) == 2
    captured = capsys.readouterr()
    assert "needs vgg16-397923af.pth" in captured.out and "PSNR as published, dB" in captured.out
    assert "gone: gone does not exist" in captured.err
    Path("weights/vgg16-397923af.pth").write_bytes(b"another file")
    assert main([*arguments, "--weights", "weights"]) == 2
    assert "is not the published vgg16-397923af.pth" in one_line(capsys)


def test_evaluate_lists_weights(capsys):
    assert main(["evaluate", "--weights-help"]) == 0
    assert "resnet-50-kinetics.pth" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["poses"],
        ["poses", "poses", "--embedded"],
        ["poses", "no"],
        ["--truth", "poses"],
        ["--truth", "poses", "--method", "poses"],
        ["--truth", "poses", "--method", "a=poses", "--method", "a=poses"],
        ["--truth", "poses", "--method", "a=poses", "--weights", "absent"],
        ["--truth", "poses", "--method", "a=poses", "--embedded"],
    ],
)
def test_evaluate_needs_something_to_compare(work, capsys, arguments):
    assert main(["evaluate", *arguments]) == 2
    one_line(capsys)


@pytest.mark.parametrize(
    "arguments, option",
    [
        (["poses", "poses", "--steps", "3"], "--steps"),
        (["poses", "poses", "--out", "tables"], "--out"),
        (["poses", "poses", "--seed", "0"], "--seed"),
        (["--truth", "poses", "--method", "a=poses", "--sheet", "sheet.png"], "--sheet"),
        (["--truth", "poses", "--method", "a=poses", "--guidance-range", "0", "1"], "--guidance-range"),
        (["--embedded", "--protocol", "published"], "--protocol"),
        (["--embedded", "--weights", "poses"], "--weights"),
        (["--weights-help", "--compile"], "--compile"),
    ],
)
def test_evaluate_refuses_options_that_the_mode_ignores(work, capsys, arguments, option):
    assert main(["evaluate", *arguments]) == 2
    assert f"{option} has no effect with" in one_line(capsys)


@pytest.mark.parametrize("arguments", [["--small"], ["--steps", "4"], ["--frames", "16"]])
def test_benchmark_refuses_options_of_the_speed_without_a_device(capsys, arguments):
    assert main(["benchmark", *arguments]) == 2
    assert f"{arguments[0]} has no effect without --device" in one_line(capsys)


# demo


def test_demo(work):
    assert main(["demo", "--out", "shown", "--frames", "3", "--steps", "2", "--device", "cpu"]) == 0
    report = json.loads(Path("shown/report.json").read_text())
    assert {"psnr", "psnr_copy", "psnr_vae", "seconds"} < set(report) and report["frames"] == 3
    assert sorted(os.listdir("shown")) == [
        "animation.gif", "animation.mp4", "contact_sheet.png", "poses", "reference.png", "report.json",
    ]  # fmt: skip
    assert sorted(os.listdir("shown/poses")) == ["00000.png", "00001.png", "00002.png"]
    for name in ("animation.gif", "animation.mp4"):
        shown = list(media.read_frames(f"shown/{name}"))
        assert len(shown) == 3 and shown[0].width > 4 * 256


# the program


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "magicdance_core", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_help_and_exit_status():
    helped = run("animate", "--help")
    assert helped.returncode == 0 and "--reference" in helped.stdout
    wrong = run("evaluate", "no-such-folder", "neither")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "Traceback" not in wrong.stderr


def test_help_and_comparing_frames_import_nothing_heavy():
    code = (
        "import sys, magicdance_core.evaluation.scores; from magicdance_core.__main__ import _parser; _parser(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["animate"], ["demo", "--frames", "0"], ["demo", "--frames", "x"]]
)
def test_a_wrong_command_line_is_one_line(arguments, capsys):
    assert main(arguments) == 2
    assert "--help" in one_line(capsys)
