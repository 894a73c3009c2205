"""Names of methods and videos of strangers in tables, plots and pages; caches that were changed."""

import csv
import io
import os

import numpy as np
import pytest
from PIL import Image

from magicdance_core.__main__ import main
from magicdance_core.checks import csv_text, printable
from magicdance_core.errors import InputError
from magicdance_core.evaluation.result_cache import ResultCache
from magicdance_core.evaluation.table import Cell, Column, Table, as_csv, as_latex, as_text

NAMES = ["$_$", r"$\foo$", "=cmd|' /C calc'!A0", "a\x1b[2Jb\nc", "\u202eabc", "\udcff", "_x", "<script>", "舞", "-1+1"]
NAMES += ["\t@x"]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_tables_are_printable_and_never_formulas(name):
    table = Table((Column("psnr", "PSNR", 2, 1),), {name: {"psnr": Cell(1.5)}, "b": {"psnr": Cell(-2.0)}})
    for text in (as_text(table), as_latex(table), as_csv(table)):
        assert all(sign.isprintable() or sign == "\n" for sign in text)
        text.encode()
    assert len(as_text(table).splitlines()) == 3
    rows = list(csv.reader(io.StringIO(as_csv(table))))
    assert not rows[1][0].lstrip().startswith(("=", "+", "-", "@")) and rows[2][1] == "-2.0"


def test_ordinary_names_stay_as_they_are():
    assert csv_text("ours (2), é 舞") == printable("ours (2), é 舞") == "ours (2), é 舞"
    assert csv_text(" =1") == "' =1" and csv_text("a=1") == "a=1"


def test_a_page_of_videos_with_hostile_names_is_written(tmp_path, capsys):
    pytest.importorskip("matplotlib"), pytest.importorskip("jinja2")
    names = ["=1+1", "$a$", "x\x1b[2J", os.fsdecode(b"y\xff"), "<b>z"]
    for root, shade in (("truth", 100), ("made", 110)):
        for name in names:
            folder = tmp_path / root / name
            try:
                folder.mkdir(parents=True)
            except OSError:
                pytest.skip("the file system allows no such names")
            for frame in range(2):
                Image.new("RGB", (16, 16), (shade, 10 * frame, 0)).save(folder / f"{frame}.png")
    made = tmp_path / "made"
    command = ["evaluate", "--truth", str(tmp_path / "truth"), "--out", str(tmp_path / "page"), "--device", "cpu"]
    methods = [f"--method={name}={made}" for name in ("$_$", r"$\foo$", "_hidden", "\x1b[31mred", "-x")]
    assert main([*command, *methods]) == 0
    out, err = capsys.readouterr()
    assert "\x1b[31m" not in out and "\x1b[2J" not in out + err
    for name in ("index.html", "table.csv", "frames.csv", "table.tex", "report.json"):
        text = (tmp_path / "page" / name).read_bytes().decode()
        assert all(sign.isprintable() or sign in "\n\t" for sign in text), name
    page = (tmp_path / "page" / "index.html").read_text()
    assert r"$\foo$" in page and "<b>z" not in page and "_hidden" in page
    assert "'=1+1" in (tmp_path / "page" / "frames.csv").read_text()


@pytest.mark.parametrize(
    "arrays", [{"a": np.array(["text"])}, {"a": np.array([{}], object)}, {"b": np.zeros(3)}, {}, b"PK no archive", b""]
)
def test_a_changed_result_is_measured_again(tmp_path, arrays):
    cache = ResultCache(tmp_path)
    wanted = cache.get("key", lambda: {"a": np.arange(3.0)}, ["a"])
    (file,) = tmp_path.iterdir()
    file.write_bytes(arrays) if isinstance(arrays, bytes) else np.savez(file, **arrays)
    assert np.array_equal(cache.get("key", lambda: {"a": np.arange(3.0)}, ["a"])["a"], wanted["a"])
    assert np.array_equal(cache.get("key", dict, ["a"])["a"], wanted["a"])


def test_a_cache_with_a_link_or_a_pipe_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="leads out of the folder"):
        ResultCache(tmp_path)
    (tmp_path / "link").unlink()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        ResultCache(tmp_path)
