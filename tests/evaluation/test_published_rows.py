"""The paper's table beside one's own: marked, only where the protocols agree, with its faults."""

import pytest

from magicdance_core.commands.evaluate import add_arguments  # noqa: F401
from magicdance_core.evaluation.method_comparison import BY_WEIGHTS, CORRECT, PUBLISHED
from magicdance_core.evaluation.published_rows import FAULTS, NAMES, published_cells
from magicdance_core.evaluation.table import Cell, Column, Table


def test_the_published_protocol_shows_all_values_of_the_table():
    rows = published_cells((*PUBLISHED, *BY_WEIGHTS), True)
    assert list(rows) == list(NAMES) and len(rows) == 7 and all(name.endswith("(paper)") for name in rows)
    ours = rows["MagicPose (paper)"]
    shown = {key: cell.value for key, cell in ours.items() if cell.known}
    assert shown == {
        "psnr_published": 29.53, "ssim": 0.752, "l1_published": 0.81e-4, "lpips": 0.292, "face_cos": 0.426,
        "fid": 25.50, "fid_vid": 46.30,
    }  # fmt: skip
    assert not rows["DisCo (paper)"]["face_cos"].known and rows["FOMM* (paper)"]["fid_vid"].value == 90.09


def test_the_correct_protocol_shows_what_both_compute_alike():
    row = published_cells((*CORRECT, *BY_WEIGHTS), False)["TPS* (paper)"]
    assert {key for key, cell in row.items() if cell.known} == {"ssim", "face_cos", "fid_vid"}
    assert {key for key, cell in row.items() if cell.note} == {"psnr", "l1", "lpips", "fid"}
    assert row["psnr"].text(2) == "other protocol"


def test_quoted_rows_are_never_the_best():
    column = Column("ssim", "SSIM", 3, +1)
    table = Table((column,), {name: {"ssim": Cell(v)} for name, v in (("a", 0.5), ("b", 0.4), ("p", 0.9))}, ("p",))
    assert table.best(column) == 0.5


def test_the_page_marks_the_rows_and_tells_the_faults(tmp_path, write_videos, square, capsys):
    pytest.importorskip("jinja2")
    from magicdance_core.__main__ import main

    for name, noise in (("truth", 0), ("mine", 5)):
        write_videos(tmp_path / name, {"a": square(4, 0, noise), "b": square(4, 1, noise)})
    command = ["evaluate", "--truth", str(tmp_path / "truth"), "--method", f"mine={tmp_path / 'mine'}"]
    assert main([*command, "--published-rows", "--protocol", "published", "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "needs scrfd_10g_bnkps.onnx" in shown and "needs yolox_l.onnx" not in shown  # the paper's columns only
    assert "MagicPose (paper)" in shown and "PSNR of 8-bit differences that overflow" in shown
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('class="quoted"') == 7 and "not measured here" in page and all(f[:40] in page for f in FAULTS)
    assert "MagicPose" not in (tmp_path / "out" / "table.csv").read_text()
    assert main(["evaluate", "--embedded", "--published-rows"]) == 2
    assert "--published-rows has no effect with --embedded" in capsys.readouterr().err
