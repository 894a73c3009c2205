"""Blind votes: a page that names nobody, and the count of what it saves."""

import base64
import io
import json

import pytest
from PIL import Image
from scipy.stats import binomtest, chi2

from magicdance_core.__main__ import main
from magicdance_core.errors import InputError
from magicdance_core.evaluation.votes import Choice, count_votes, write_vote
from magicdance_core.media import write_animation

EVIL = "<img src=x onerror=alert(1)></script>"


@pytest.fixture(scope="module")
def roots(tmp_path_factory, write_videos, square):
    folder = tmp_path_factory.mktemp("vote")
    videos = {f"v{n}": square(3, n) for n in range(3)}
    return {name: write_videos(folder / str(k), videos) for k, name in enumerate(("ours", EVIL, "truth"))}


@pytest.fixture
def page(roots, tmp_path):
    methods = {name: roots[name] for name in ("ours", EVIL)}
    return write_vote(methods, roots["truth"], tmp_path / "out", 3)


def _data(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('type="application/json">', 1)[1].split("</script>", 1)[0])


def test_the_page_has_each_pair_once_and_names_nobody(page):
    data, key = _data(page), json.loads((page.parent / "key.json").read_text())
    assert len(data["pairs"]) == 3 and len(data["clips"]) == 9
    assert sorted(key["clips"].values()) == sorted(["ours", EVIL] * 3) and key["page"] == data["page"]
    for pair in data["pairs"]:
        assert {key["clips"][clip] for clip in pair["clips"]} == {"ours", EVIL}
        assert pair["reference"] in data["clips"] and pair["reference"] not in key["clips"]
    text = page.read_text()
    assert "onerror" not in text and "ours" not in text and "v0" not in data["clips"]
    assert "http" not in text.replace("http-equiv", "")  # offline


def test_sides_and_order_depend_on_the_seed(roots, tmp_path):
    methods = {"ours": roots["ours"], "other": roots["truth"]}
    sides = set()
    for seed in range(6):
        data = _data(write_vote(methods, None, tmp_path / str(seed), seed))
        key = json.loads((tmp_path / str(seed) / "key.json").read_text())["clips"]
        sides |= {key[pair["clips"][0]] for pair in data["pairs"]}
    assert sides == {"ours", "other"}


def _save(page, folder, chosen, **more):
    """Vote for the named methods in turn; None is a draw."""
    data, key = _data(page), json.loads((page.parent / "key.json").read_text())["clips"]
    votes = [
        {"clips": pair["clips"], "chosen": next((c for c in pair["clips"] if key[c] == name), None)}
        for pair, name in zip(data["pairs"], chosen)
    ]
    folder.write_text(json.dumps({"page": data["page"], "votes": votes} | more))
    return folder


def test_votes_of_all_files_are_counted(page, tmp_path, capsys):
    files = [_save(page, tmp_path / f"{n}.json", names) for n, names in enumerate((["ours"] * 3, ["ours", EVIL, None]))]
    (choice,), left_out = count_votes(page.parent, files)
    assert not left_out and (choice.votes_one, choice.votes_two, choice.draws) == (4, 1, 1) and choice.share == 0.8
    command = ["evaluate", "--vote", str(page.parent), "--json", str(tmp_path / "r.json")]
    assert main([*command, *(x for file in files for x in ("--votes", str(file)))]) == 0
    assert "4 of 5 votes (80%, 38% to 96%), 1 without a difference" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["pairs"][0]["votes_one"] == 4


@pytest.mark.parametrize(("one", "two"), [(4, 1), (50, 50), (70, 30)])
def test_interval_and_test_are_the_textbooks(one, two):
    choice = Choice("a", "b", one, two, 0)
    wanted = binomtest(one, one + two).proportion_ci(method="wilson")
    assert choice.interval == pytest.approx((wanted.low, wanted.high), abs=1e-6)
    mean = (one + two) / 2
    assert choice.p_value == pytest.approx(chi2.sf(((one - mean) ** 2 + (two - mean) ** 2) / mean, 1))


def test_votes_of_another_page_and_foreign_files_are_refused(page, roots, tmp_path):
    other = write_vote({"a": roots["ours"], "b": roots["truth"]}, None, tmp_path / "other", 4)
    with pytest.raises(InputError, match="holds votes of another page"):
        count_votes(page.parent, [_save(other, tmp_path / "o.json", ["a"] * 3)])
    file = _save(page, tmp_path / "f.json", ["ours"])
    for text, message in (
        ("[]", "holds no votes"),
        (file.read_text().replace('"chosen": "', '"chosen": "x'), "a vote that this page does not have"),
        (file.read_text().replace('"clips"', '"clip"'), "a vote that this page does not have"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            count_votes(page.parent, [file])
        file = _save(page, tmp_path / "f.json", ["ours"])
    with pytest.raises(InputError, match="needs two methods"):
        write_vote({"a": roots["ours"]}, None, tmp_path / "one")


def _seconds(page):
    """Frames and seconds of the clips by method; "" is the reference."""
    key, found = json.loads((page.parent / "key.json").read_text())["clips"], {}
    for clip, data in _data(page)["clips"].items():
        shown, milliseconds = Image.open(io.BytesIO(base64.b64decode(data))), 0
        for number in range(shown.n_frames):
            shown.seek(number)
            shown.load()
            milliseconds += shown.info["duration"]
        found[key.get(clip, "")] = (shown.n_frames, milliseconds / 1000)
    return found


@pytest.mark.parametrize("with_truth", [True, False])
def test_clips_last_as_long_as_their_videos(tmp_path, write_videos, square, with_truth):
    pictures = square(60)
    rates = {"truth": (15, 15), "fast": (60, 60), "faster": (100, 60)}
    write_videos(tmp_path / "folder", {"v": pictures[:15]})
    for name, (fps, count) in rates.items():
        with write_animation(tmp_path / name / "v.mp4", fps) as add:
            for picture in pictures[:count]:
                add(Image.fromarray(picture))
    methods = {name: tmp_path / name for name in ("folder", "fast", "faster")}
    found = _seconds(write_vote(methods, tmp_path / "truth" if with_truth else None, tmp_path / "out"))
    assert found["fast"] == (60, 1.0) and found["faster"] == (36, 0.6)
    assert found["folder"] == ((15, 1.0) if with_truth else (15, 0.25))
    assert found.get("") == ((15, 1.0) if with_truth else None)


def test_folders_alone_have_thirty_frames_per_second(page):
    assert set(_seconds(page).values()) == {(3, 0.1)}


def test_each_voter_counts_once(page, tmp_path, capsys):
    files = [
        _save(page, tmp_path / f"{n}.json", names, voter=voter)
        for n, (names, voter) in enumerate(
            [(["ours"], "0" * 16), (["ours"] * 3, "0" * 16), ([EVIL] * 2, "0" * 16), ([EVIL], "1" * 16)]
        )
    ]
    (choice,), left_out = count_votes(page.parent, files)
    assert (choice.votes_one, choice.votes_two, left_out) == (3, 1, [files[0], files[2]])
    command = ["evaluate", "--vote", str(page.parent), "--json", str(tmp_path / "r.json")]
    assert main([*command, *["--votes", str(files[3])] * 2]) == 0
    printed, report = capsys.readouterr().out, json.loads((tmp_path / "r.json").read_text())
    assert "0 of 1 votes" in printed and printed.count("Left out") == 1 and report["files"] == 1
    for voter in ("0" * 15, "0" * 16 + "\n", EVIL, None, 3, ["0" * 16]):
        with pytest.raises(InputError, match="has a voter that no page made"):
            count_votes(page.parent, [_save(page, tmp_path / "bad.json", ["ours"], voter=voter)])


def test_a_key_of_another_page_is_kept(page, roots):
    methods, before = {name: roots[name] for name in ("ours", EVIL)}, page.read_bytes()
    key = (page.parent / "key.json").read_bytes()
    assert write_vote(methods, roots["truth"], page.parent, 3).read_bytes() == before
    for other, seed in ((methods, 4), ({"ours": roots["ours"], "other": roots[EVIL]}, 3)):
        with pytest.raises(InputError, match="key.json is of another page"):
            write_vote(other, roots["truth"], page.parent, seed)
    assert page.read_bytes() == before and (page.parent / "key.json").read_bytes() == key


def test_no_votes_are_null_and_unused_options_are_refused(page, tmp_path, capsys):
    command = ["evaluate", "--vote", str(page.parent), "--votes", str(_save(page, tmp_path / "f.json", []))]
    assert main([*command, "--json", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert report["pairs"][0]["share"] is None and report["pairs"][0]["interval"] is None
    for more in (["--seed", "3"], ["--truth", "x"], ["--method", "a=b"]):
        assert main([*command, *more]) == 2 and more[0] in capsys.readouterr().err
