"""animate --jobs: a table of runs."""

import csv
import json
import shutil
from pathlib import Path
from threading import Thread

import pytest
from filelock import FileLock
from PIL import Image

from magicdance_core import media, pipeline
from magicdance_core.__main__ import main
from magicdance_core.commands import driving_video
from magicdance_core.errors import InputError
from magicdance_core.evaluation.puppet_scores import make_scene
from magicdance_core.launcher import rank_and_size

POSES, SIDE = 4, 256


@pytest.fixture(scope="module")
def folder(make_tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    pipeline.MagicDancePipeline(make_tiny()).save_pretrained(folder / "model")
    scene = make_scene(0, range(POSES), SIDE)
    media.write_picture(folder / "a.png", scene.reference)
    with media.write_animation(folder / "dance.mp4", 10) as add:
        for number, pose in enumerate(scene.poses):
            media.write_picture(folder / f"poses/{number}.png", pose)
            add(pose)
    media.write_picture(folder / "map.png", scene.poses[0])
    return folder


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("model", "a.png", "map.png", "poses", "dance.mp4"):
        Path(name).symlink_to(folder / name)
    return tmp_path


def table(text, name="jobs.csv"):
    Path(name).write_text(text, encoding="utf-8")
    return name


def jobs(text, *more):
    given = ["animate", "--jobs", table(text), "--model", "model", "--size", "16", "--steps", "1", "--device", "cpu"]
    return main([*given, *more])


def report():
    return list(csv.DictReader(Path("jobs.csv.jobs/report.csv").read_text().splitlines()))


GOOD = "reference,poses,out,seed\na.png,poses,one.gif,1\na.png,poses,two,2\na.png,poses,three.gif,\n"


def test_rows_run_one_after_the_other_and_done_ones_are_skipped(work, capsys, monkeypatch):
    assert jobs(GOOD) == 0
    assert Path("one.gif").exists() and len(list(Path("two").glob("*.png"))) == POSES
    assert [row["status"] for row in report()] == ["done"] * 3 and "3 of 3 jobs done" in capsys.readouterr().out
    Path("three.gif").unlink()
    with monkeypatch.context() as patch:
        made = []
        patch.setattr("magicdance_core.commands.animate.animate", lambda options: made.append(options.out.name))
        assert jobs(GOOD) == 0
        assert made == ["three.gif"]  # what is gone is made again, and nothing else
        assert jobs(GOOD, "--steps", "2") == 0
    assert made == ["three.gif", "one.gif", "two", "three.gif"]  # other options, other results


@pytest.fixture
def replaceable(work):
    """Copies of the inputs under names of their own, each with something to replace it by."""
    shutil.copy("a.png", "mine.png")
    for name in ("poses", "model"):
        shutil.copytree(name, f"my_{name}")
    weights = next(Path("my_model/unet").glob("*.safetensors"))
    return {
        "reference": lambda: media.write_picture(Path("mine.png"), Image.new("RGB", (SIDE, SIDE), "navy")),
        "poses": lambda: shutil.copy("poses/2.png", "my_poses/1.png"),
        "model": lambda: weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1"),
        "nothing": lambda: Path("mine.png").touch(),
    }


@pytest.mark.parametrize("changed", ["reference", "poses", "model", "nothing"])
def test_a_done_job_is_done_again_when_its_inputs_changed(replaceable, changed, capsys):
    rows = "reference,poses,out,model\nmine.png,my_poses,one.gif,my_model\n"
    assert jobs(rows) == 0
    before = Path("one.gif").stat().st_mtime_ns
    replaceable[changed]()
    capsys.readouterr()
    for again in (changed != "nothing", False):
        assert jobs(rows) == 0
        assert ("row 1: one.gif" in capsys.readouterr().out) == again
        assert (Path("one.gif").stat().st_mtime_ns != before) == again
        before = Path("one.gif").stat().st_mtime_ns


@pytest.mark.parametrize("changed", ["reference", "poses", "model", "nothing"])
def test_frames_of_inputs_that_changed_are_told(replaceable, changed, capsys):
    rows = "reference,poses,out,model\nmine.png,my_poses,frames,my_model\n"
    assert jobs(rows) == 0
    frames = {path: path.read_bytes() for path in Path("frames").iterdir()}
    replaceable[changed]()
    assert jobs(rows) == (0 if changed == "nothing" else 2)
    assert changed == "nothing" or f"frames was begun with {'' if changed == 'reference' else 'other '}{changed}" in (
        capsys.readouterr().err
    )
    assert {path: path.read_bytes() for path in Path("frames").iterdir()} == frames


def test_jobs_that_an_earlier_version_did_are_not_done_again(work, capsys):
    assert jobs(GOOD) == 0
    for file in Path("jobs.csv.jobs").glob("0*.json"):
        outcome = json.loads(file.read_text())
        del outcome["contents"]
        file.write_text(json.dumps(outcome))
    capsys.readouterr()
    assert jobs(GOOD) == 0 and "row" not in capsys.readouterr().out


def test_a_failed_job_is_told_and_the_others_are_done(work, capsys):
    Path("broken.png").write_bytes(b"no picture")
    assert jobs("reference,poses,out\nbroken.png,poses,one.gif\na.png,poses,two.gif\n") == 2
    err = capsys.readouterr().err
    assert (
        "row 1 failed: broken.png cannot be read" in err and "1 of 2 jobs failed, row 1 first" in err.splitlines()[-1]
    )
    assert [row["status"] for row in report()] == ["failed", "done"] and Path("two.gif").exists()


def test_jobs_with_one_video_share_its_extraction(work, monkeypatch):
    seen = []
    make = driving_video._part
    monkeypatch.setattr(driving_video, "_part", lambda *of: (seen.append(1), make(*of))[1])
    rows = "reference,video,out,seed,no-audio\nmap.png,dance.mp4,one.mp4,1,yes\nmap.png,dance.mp4,two.mp4,2,no\n"
    assert jobs(rows, "--detector", "drawn") == 0
    assert len(seen) == 1 + 2 and len(list(Path("jobs.csv.jobs/detections").glob("*.npz"))) == 1  # and a sheet each
    assert Path("one.mp4").exists() and Path("two.mp4").exists()


def test_a_process_waits_for_the_people_that_another_one_detects(work):
    rows = "reference,video,out,no-audio\nmap.png,dance.mp4,one.mp4,yes\n"
    assert jobs(rows, "--detector", "drawn") == 0
    made = next(Path("jobs.csv.jobs/detections").glob("*.npz"))
    aside = made.rename("aside.npz")
    Path("one.mp4").unlink()
    shutil.rmtree("one.mp4.work")
    waiting = Thread(target=jobs, args=(rows, "--detector", "drawn"))
    with FileLock(made.with_suffix(".lock")):
        waiting.start()
        waiting.join(2)
        assert waiting.is_alive() and not Path("one.mp4").exists()
        stamp = aside.rename(made).stat().st_mtime_ns
    waiting.join(60)
    assert Path("one.mp4").exists() and made.stat().st_mtime_ns == stamp


def test_processes_share_the_rows(work, monkeypatch):
    for rank in (1, 0):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert jobs(GOOD) == 0
        if rank:
            assert [row["status"] for row in report()] == ["open", "done", "open"]
    assert [row["status"] for row in report()] == ["done"] * 3


@pytest.mark.parametrize(("rank", "size"), [("a", "2"), ("5", "2"), ("-1", "2"), ("0", "0")])
def test_variables_that_name_no_process_are_refused(monkeypatch, rank, size):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match="unset"):
        rank_and_size()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("reference,poses,out\n", "has no rows"),
        ("reference,pose,out\na.png,poses,b.gif\n", "the column 'pose' is unknown: did you mean poses?"),
        ("jobs,out\na,b\n", "the column 'jobs' is unknown"),
        ("reference,poses,out\na.png,poses,b.gif\na.png,poses,b.gif\n", "row 2: b.gif is the result of another row"),
        ("reference,poses,out\nno.png,poses,b.gif\nno.png,poses,c.gif\n", "row 1: no.png does not exist.* 1 more rows"),
        ("reference,poses,out,seed\na.png,poses,b.gif,x\n", "row 1: .*--seed"),
        ("reference,poses,out,loop\na.png,poses,b.gif,maybe\n", "row 1: loop is 'maybe': give yes or no"),
        ("reference,poses,out\na.png,poses\n", "more or fewer cells"),
        ("reference,poses,out,pose range\na.png,poses,b.gif,0 1\n", "the column 'pose range' is unknown: did you mean"),
        (
            "reference,poses,out,pose-range\na.png,poses,b.gif,0 1 --out=c.gif\n",
            "give values only, --out=c.gif is",
        ),
        ("reference,poses,out,pose-range\na.png,poses,b.gif,0 --help\n", "give values only, --help is an option"),
        ("reference,poses,out,--out\na.png,poses,b.gif,c.gif\n", "has two columns 'out': remove one"),
        ("reference,poses,out\na.png,poses,b.xyz\n", "row 1: b.xyz has an unknown suffix"),
        ("reference,poses,out\na.png,poses,poses\n", "row 1: poses is the poses, which the result would replace"),
        ("reference,poses,out\na.png,poses,a.png\n", "row 1: a.png is the reference, which the result would replace"),
        ("reference,poses,out,motion\na.png,poses,b.gif,b.gif\n", "row 1: b.gif does not exist"),
        ("reference,video,out,background\na.png,dance.mp4,map.png,map.png\n", "map.png is the background, which the"),
        ("reference,out\n,b.gif\n", "--reference, --poses or --video is required"),
        ("video,out\ndance.mp4,b.gif\n", "--video is fitted to the person of a reference: give --reference"),
        ("reference,poses,video,out\na.png,poses,dance.mp4,b.gif\n", "not allowed with argument --poses"),
    ],
)
def test_a_table_is_checked_whole_before_anything_is_done(work, capsys, text, words):
    import re

    before = sorted(path.name for path in work.iterdir())
    assert jobs(text) == 2
    assert re.search(words, capsys.readouterr().err.splitlines()[-1])
    assert sorted(path.name for path in work.iterdir()) == sorted([*before, "jobs.csv"])


def test_outcomes_of_other_options_are_not_taken(work):
    assert jobs("reference,poses,out\na.png,poses,one.gif\n") == 0
    outcome = json.loads(Path("jobs.csv.jobs/00001.json").read_text())
    assert outcome["status"] == "done" and len(outcome["key"]) == 16


@pytest.mark.parametrize("change", [{"status": "=1+1"}, {"status": ["done"]}, {"seconds": "=1+1"}])
def test_outcomes_that_no_run_wrote_are_not_taken(work, change):
    rows = "reference,poses,out\na.png,poses,one.gif\n"
    assert jobs(rows) == 0
    file = Path("jobs.csv.jobs/00001.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert jobs(rows) == 0
    assert report()[0]["status"] == "done" and report()[0]["seconds"] != "=1+1"


def test_a_result_that_another_row_reads_is_refused(work, capsys):
    for name in ("x.mp4", "y.mp4"):
        shutil.copy("dance.mp4", name)
    rows = "reference,video,out\nmap.png,x.mp4,y.mp4\nmap.png,y.mp4,x.mp4\n"
    assert jobs(rows, "--detector", "drawn") == 2
    assert "row 1: y.mp4 is read by row 2: give the result another name. 1 more rows" in capsys.readouterr().err
    assert Path("x.mp4").read_bytes() == Path("y.mp4").read_bytes() == Path("dance.mp4").read_bytes()


def test_a_report_that_cannot_be_written_is_told_before_the_first_job(work, capsys):
    Path("jobs.csv.jobs/00001.json").mkdir(parents=True)
    assert jobs("reference,poses,out\na.png,poses,one.gif\n") == 2
    assert "00001.json: a folder of this name" in capsys.readouterr().err and not Path("one.gif").exists()


def test_damaged_people_of_a_shared_video_are_detected_again(work):
    rows = "reference,video,out,no-audio\nmap.png,dance.mp4,one.mp4,yes\n"
    assert jobs(rows, "--detector", "drawn") == 0
    (people,) = Path("jobs.csv.jobs/detections").glob("*.npz")
    people.write_bytes(b"PK")
    Path("one.mp4").unlink()
    shutil.rmtree("one.mp4.work")
    assert jobs(rows, "--detector", "drawn") == 0 and Path("one.mp4").exists()


def test_a_folder_continues_with_its_poses_and_model_only(work, capsys):
    shutil.copytree("poses", "mine")
    shutil.copytree("model", "other")
    rows = "reference,poses,out,model\na.png,mine,frames,other\n"
    assert jobs(rows) == 0
    for file in ("frames/00001.png", "jobs.csv.jobs/00001.json"):
        Path(file).unlink()
    weights = next(Path("other/unet").glob("*.safetensors"))
    held = weights.read_bytes()
    weights.write_bytes(held[:-4] + b"\0\0\0\1")
    assert jobs(rows) == 2 and "frames was begun with other model" in capsys.readouterr().err
    weights.write_bytes(held)
    shutil.copy("mine/2.png", "mine/1.png")
    assert jobs(rows) == 2 and "frames was begun with other poses" in capsys.readouterr().err


def test_a_single_run_names_what_is_missing(capsys):
    assert main(["animate", "--model", "embedded"]) == 2
    assert "--out, --reference, --poses or --video are required" in capsys.readouterr().err


def test_a_row_and_the_command_line_cannot_both_name_a_motion(work, capsys):
    assert jobs("reference,video,out\na.png,dance.mp4,b.gif\n", "--poses", "poses") == 2
    assert "--video and --poses are both given" in capsys.readouterr().err


def test_extract_takes_a_folder_of_videos(work, capsys, monkeypatch):
    Path("videos").mkdir()
    for name in ("one.mp4", "two.mp4", "three.mp4"):
        shutil.copy("dance.mp4", f"videos/{name}")
    Path("videos/two.mp4").write_bytes(b"no video" * 100)
    command = ["extract", "videos", "--out", "poses_of", "--detector", "drawn"]
    assert main(command) == 2
    assert "two.mp4 failed" in capsys.readouterr().err
    assert sorted(path.name for path in Path("poses_of").iterdir()) == ["one", "three"]
    shutil.copy("dance.mp4", "videos/two.mp4")
    assert main(command) == 0 and (Path("poses_of") / "two" / "keypoints.npz").exists()


def test_a_row_replaces_the_references_of_the_command_line(work):
    """one.gif is of the command line's reference, two.gif of the row's alone."""
    assert jobs("reference,poses,out\n,poses,one.gif\na.png,poses,two.gif\n", "--reference", "map.png") == 0
    assert jobs("reference,poses,out\nmap.png,poses,three.gif\na.png,poses,four.gif\n") == 0
    made = [Path(f"{name}.gif").read_bytes() for name in ("one", "two", "three", "four")]
    assert made[0] == made[2] != made[1] == made[3]
