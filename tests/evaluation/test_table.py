"""One table in four forms."""

import csv
import io
import math

from magicdance_core.evaluation.table import Cell, Column, Table, as_csv, as_data, as_latex, as_text

TABLE = Table(
    (Column("psnr", "PSNR, dB", 1, +1), Column("fid", "FID", 2, -1), Column("frames", "frames", 0)),
    {
        "ours_1": {"psnr": Cell(25.25, (24.0, 26.0)), "fid": Cell(12.5), "frames": Cell(10.0)},
        "a & b": {"psnr": Cell(math.nan), "fid": Cell(13.0, (12.0, 14.0)), "frames": Cell(10.0)},
        "broken": {"psnr": Cell(note="needs x.pth")},
    },
)


def test_text_has_aligned_columns():
    lines = as_text(TABLE).splitlines()
    assert [line.split()[0] for line in lines] == ["method", "ours_1", "a", "broken"]
    assert "25.2 [24.0, 26.0]" in lines[1] and lines[3].rstrip().endswith("-") and "needs x.pth" in lines[3]
    assert len({line.index("FID") + 3 for line in lines[:1]}) == 1


def test_wide_tables_come_in_blocks():
    columns = tuple(Column(f"m{i}", f"a metric number {i}") for i in range(12))
    text = as_text(Table(columns, {"x": {c.key: Cell(1.0) for c in columns}}))
    assert max(map(len, text.splitlines())) <= 118 and text.count("method") == len(text.split("\n\n")) > 1


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(as_csv(TABLE))))
    assert [row["method"] for row in rows] == ["ours_1", "a & b", "broken"]
    assert (float(rows[0]["psnr"]), float(rows[0]["psnr_low"]), rows[1]["psnr"]) == (25.25, 24.0, "")


def test_latex_escapes_and_marks_the_best():
    text = as_latex(TABLE)
    assert r"ours\_1" in text and r"a \& b" in text and r"\textbf{12.50}" in text
    assert r"\textbf{25.2}" not in text  # alone, so not the best of anything
    assert r"FID $\downarrow$" in text and text.count(r"\\") == 4


def test_data_holds_values_intervals_and_notes():
    data = as_data(TABLE)
    assert data["ours_1"]["psnr"] == 25.25 and data["ours_1"]["intervals"] == {"psnr": [24.0, 26.0]}
    assert data["a & b"]["psnr"] is None and data["broken"]["notes"] == {"psnr": "needs x.pth"}
