"""Tables with methods in rows and metrics in columns, as text, CSV, LaTeX and data."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..checks import csv_text, printable


@dataclass(frozen=True)
class Column:
    """A metric. key: name in files. digits: after the point. better: +1 if more is better, -1 if less is, else 0."""

    key: str
    title: str
    digits: int = 2
    better: int = 0


@dataclass(frozen=True)
class Cell:
    """A value with its 95 % interval, or a note that says why there is none."""

    value: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def known(self) -> bool:
        """Return whether there is a finite value."""
        return self.value is not None and math.isfinite(self.value)

    @property
    def number(self) -> float:
        """Return the value, NaN if there is none."""
        return math.nan if self.value is None else self.value

    def text(self, digits: int) -> str:
        """Return the value and its interval, or the note."""
        if not self.known:
            return self.note or "-"
        text = f"{self.number:.{digits}f}"
        return f"{text} [{self.interval[0]:.{digits}f}, {self.interval[1]:.{digits}f}]" if self.interval else text


@dataclass(frozen=True)
class Table:
    """Columns, and for each method its cells by the columns' keys. quoted: rows that were not measured here."""

    columns: Sequence[Column]
    rows: Mapping[str, Mapping[str, Cell]]
    quoted: Collection[str] = ()

    def cell(self, method: str, column: Column) -> Cell:
        """Return a method's cell, an empty one if it lacks the column."""
        return self.rows[method].get(column.key, Cell())

    def best(self, column: Column) -> float | None:
        """Return the best measured value of a column, None without an order or with fewer than two values."""
        measured = [method for method in self.rows if method not in self.quoted]
        values = [cell.number for cell in (self.cell(method, column) for method in measured) if cell.known]
        if not column.better or len(values) < 2:
            return None
        return max(values, key=lambda value: column.better * value)


def as_text(table: Table) -> str:
    """Return aligned columns, in several blocks if they are wider than a terminal."""
    shown = ["method", *map(printable, table.rows)]
    names = max(map(len, shown))
    blocks, block, used = [], [], names
    for column in table.columns:
        cells = [column.title, *(table.cell(method, column).text(column.digits) for method in table.rows)]
        width = max(map(len, cells))
        if block and used + 2 + width > 118:
            blocks.append(block)
            block, used = [], names
        block.append([f"{cell:>{width}}" for cell in cells])
        used += 2 + width
    blocks.append(block)
    labels = [f"{name:<{names}}" for name in shown]
    return "\n\n".join("\n".join("  ".join(line).rstrip() for line in zip(labels, *block)) for block in blocks)


def as_csv(table: Table) -> str:
    """Return a line a method, each metric with the ends of its interval; empty if unknown."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    endings = ("", "_low", "_high")
    writer.writerow(["method", *(column.key + ending for column in table.columns for ending in endings)])
    for method in table.rows:
        cells = [table.cell(method, column) for column in table.columns]
        values = [v for c in cells for v in ((c.value if c.known else None), *(c.interval or (None, None)))]
        writer.writerow([csv_text(method), *("" if value is None else repr(value) for value in values)])
    return out.getvalue()


def as_latex(table: Table) -> str:
    """Return a tabular in the style of the published table: arrows, best values bold, intervals in small print."""
    arrows = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
    head = " & ".join(["Method", *(_escape(c.title) + arrows[c.better] for c in table.columns)])
    lines = [rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}", r"\hline", head + r" \\", r"\hline"]
    for method in table.rows:
        cells = [_latex_cell(table.cell(method, column), column, table.best(column)) for column in table.columns]
        lines.append(" & ".join([_escape(method), *cells]) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}", ""])


def as_data(table: Table) -> dict:
    """Return plain data: for each method its values by key, and intervals and notes by the same keys."""
    return {method: _row_data(cells) for method, cells in table.rows.items()}


def _row_data(cells: Mapping[str, Cell]) -> dict:
    values = {key: cell.value if cell.known else None for key, cell in cells.items()}
    intervals = {key: list(cell.interval) for key, cell in cells.items() if cell.interval}
    notes = {key: cell.note for key, cell in cells.items() if cell.note}
    return values | {"intervals": intervals, "notes": notes}


def _latex_cell(cell: Cell, column: Column, best: float | None) -> str:
    if not cell.known:
        return "--"
    value = f"{cell.number:.{column.digits}f}"
    if cell.value == best:
        value = rf"\textbf{{{value}}}"
    if cell.interval:
        low, high = (f"{end:.{column.digits}f}" for end in cell.interval)
        value += rf" {{\scriptsize [{low}, {high}]}}"
    return value


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, "\\" + sign if sign in "&%$#_{}" else sign) for sign in printable(text))
