"""Blind votes: a page that names nobody, and the count of what it saves."""

import json

import pytest
from scipy.stats import binomtest, chi2

from magicdance_core.__main__ import main
from magicdance_core.errors import InputError
from magicdance_core.evaluation.votes import Choice, count_votes, write_vote

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


def _save(page, folder, chosen):
    """Vote for the named methods in turn; None is a draw."""
    data, key = _data(page), json.loads((page.parent / "key.json").read_text())["clips"]
    votes = [
        {"clips": pair["clips"], "chosen": next((c for c in pair["clips"] if key[c] == name), None)}
        for pair, name in zip(data["pairs"], chosen)
    ]
    folder.write_text(json.dumps({"page": data["page"], "votes": votes}))
    return folder


def test_votes_of_all_files_are_counted(page, tmp_path, capsys):
    files = [_save(page, tmp_path / f"{n}.json", names) for n, names in enumerate((["ours"] * 3, ["ours", EVIL, None]))]
    (choice,) = count_votes(page.parent, files)
    assert (choice.votes_one, choice.votes_two, choice.draws) == (4, 1, 1) and choice.share == 0.8
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
