"""Plots of a comparison of methods, as SVG."""

from __future__ import annotations

import io
import warnings
from types import ModuleType

import numpy as np

from ..checks import printable
from ..errors import InputError
from .method_comparison import MethodComparison
from .table import Column, Table

COLOURS = ("#4c8bf5", "#e8743b", "#3aa76d", "#b05cc6", "#d9a514", "#7a8793", "#d64550", "#29a3a3")
COLUMNS_WIDE = 3


def intervals(table: Table) -> str:
    """Plot a panel a metric, with each method's value and interval; return the text of an SVG."""
    figures, _ = import_matplotlib()
    columns = [c for c in table.columns if any(table.cell(method, c).known for method in table.rows)]
    wide = min(COLUMNS_WIDE, len(columns))
    high = -(-len(columns) // wide)
    figure = figures.Figure(figsize=(3.6 * wide, high * (0.9 + 0.32 * len(table.rows))), layout="constrained")
    axes = np.atleast_1d(figure.subplots(high, wide, squeeze=False).ravel())
    for ax, column in zip(axes, columns):
        _interval_panel(ax, table, column)
    for ax in axes[len(columns) :]:
        ax.set_visible(False)
    return as_svg(figure)


def _interval_panel(ax, table: Table, column: Column) -> None:
    for row, method in enumerate(table.rows):
        cell, colour = table.cell(method, column), COLOURS[row % len(COLOURS)]
        if not cell.known:
            continue
        if cell.interval:
            ax.plot(cell.interval, (row, row), color=colour, linewidth=2.5, alpha=0.5, solid_capstyle="round")
        ax.plot(cell.value, row, "o", color=colour, markersize=6)
    arrow = {1: " (more is better)", -1: " (less is better)", 0: ""}[column.better]
    ax.set_title(column.title + arrow, fontsize=9)
    ax.set_yticks(range(len(table.rows)), [printable(method) for method in table.rows], fontsize=8, parse_math=False)
    ax.set_ylim(len(table.rows) - 0.5, -0.5)
    ax.tick_params(axis="x", labelsize=8)
    ax.grid(axis="x", alpha=0.25)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)


def distribution(comparison: MethodComparison, column: Column) -> str:
    """Plot the share of frames below each value of a metric, a curve a method; return the text of an SVG."""
    figures, _ = import_matplotlib()
    figure = figures.Figure(figsize=(7.2, 3.2), layout="constrained")
    ax = figure.subplots()
    for number, (method, videos) in enumerate(comparison.scores.items()):
        values = np.sort(np.concatenate([video[column.key] for video in videos]))
        values = values[np.isfinite(values)]
        if len(values):
            shares = np.arange(1, len(values) + 1) / len(values)
            name = printable(method)
            label = f" {name}" if name.startswith("_") else name  # matplotlib leaves out what begins with _
            ax.step(values, 100 * shares, where="post", label=label, color=COLOURS[number % len(COLOURS)])
    ax.set_xlabel(column.title, fontsize=9)
    ax.set_ylabel("% of frames below", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)
    for text in ax.legend(fontsize=8, frameon=False).get_texts():
        text.set_parse_math(False)  # $ in a name is a dollar
    return as_svg(figure)


def as_svg(figure) -> str:
    """Return a figure of matplotlib as the text of an SVG file."""
    out = io.StringIO()
    # Without date and random names, so that equal data give equal files; text stays text.
    style = {"svg.fonttype": "none", "svg.hashsalt": "magicdance", "font.family": ["sans-serif"]}
    with import_matplotlib()[1].rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of names; the reader's fonts may have them
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def import_matplotlib() -> tuple[ModuleType, ModuleType]:
    """Return matplotlib.figure and matplotlib. Raises InputError if matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib import figure
    except ImportError as error:
        raise InputError(
            f"Plots need matplotlib ({error}); run pip install matplotlib, or leave out --out and --plot."
        ) from error
    return figure, matplotlib
