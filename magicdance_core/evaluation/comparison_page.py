"""A comparison of methods as files: JSON, CSV, LaTeX and an HTML page."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from ..checks import csv_text, printable
from ..errors import InputError
from ..files import write_text
from ..media import contact_sheet, read_frames, write_json, write_picture
from . import plots
from .method_comparison import MethodComparison
from .metrics import difference
from .published_rows import FAULTS, NAMES, published_cells
from .table import Column, Table, as_csv, as_data, as_latex
from .videos import match_videos

MOMENTS = 4  # frames of a clip on a contact sheet
PANEL = 160
AMPLIFICATION = 3  # of differences on contact sheets
TEMPLATE = Path(__file__).with_name("comparison_page.html")
RANKS = ("best", "median", "worst")


def check_libraries() -> None:
    """Raise InputError if a library that the page needs is missing."""
    plots.import_matplotlib()
    _template()


def notes(comparison: MethodComparison, weights: bool) -> list[str]:
    """Return the lines below the table: differences from the first method, biases, missing weights, warnings."""
    lines = []
    columns = {c.key: c for c in comparison.columns(weights=False)}
    for (one, two), cells in comparison.differences().items():
        if one != next(iter(comparison.scores)):
            continue
        parts = [f"{c.title} {cells[key].text(c.digits)}" for key, c in columns.items() if key in cells]
        lines.append(f"{one} less {two}, paired: " + "; ".join(parts))
    if biases := bias_lines(comparison):
        lines.append("of these, due to the small number of frames or clips, about: " + "; ".join(biases))
    if comparison.needs and not weights:
        missing = ", ".join(c.title for c in comparison.columns(weights=True) if c.key in comparison.needs)
        lines.append(f"with --weights DIR also: {missing} (see --weights-help)")
    for name, digest in comparison.hashes.items():
        lines.append(f"{name}: accepted by its tensors, as no published hash is known; its SHA-256 is {digest}")
    lines += FAULTS if comparison.with_paper else ()
    return lines + [f"warning: {warning}" for warning in comparison.warnings]


def comparison_data(comparison: MethodComparison) -> dict:
    """Return the whole comparison as plain data."""
    pairs = comparison.differences()
    return {
        "protocol": "published" if comparison.published else "correct",
        "videos": len(comparison.videos),
        "frames": comparison.frames,
        "clips": comparison.clips,
        "methods": as_data(Table(_all_columns(comparison), _all_rows(comparison))),
        "differences": {f"{one} - {two}": as_data(Table((), {"": cells}))[""] for (one, two), cells in pairs.items()},
        "small_sample_bias": comparison.biases,
        "warnings": comparison.warnings,
        "problems": comparison.problems,
        "weights_sha256": comparison.hashes,
        **({"paper": as_data(_paper_rows(comparison)), "paper_faults": FAULTS} if comparison.with_paper else {}),
    }


def _paper_rows(comparison: MethodComparison) -> Table:
    columns = comparison.columns(weights=True)
    return Table(columns, published_cells(columns, comparison.published), NAMES)


def _all_columns(comparison: MethodComparison) -> tuple[Column, ...]:
    known = {c.key: c for c in comparison.columns(weights=True)}
    keys = list(known) + [key for method in comparison.statistics.values() for key in method if key not in known]
    return tuple(known.get(key, Column(key, key)) for key in dict.fromkeys(keys))


def _all_rows(comparison: MethodComparison) -> dict:
    """Return every metric in its correct and its published form, whatever the protocol shows."""
    return {
        method: {c.key: comparison.cell(method, c.key) for c in _all_columns(comparison)}
        for method in comparison.methods
    }


def write_page(comparison: MethodComparison, folder: Path) -> None:
    """Write report.json, table.csv, table.tex, frames.csv and index.html with its pictures to a folder."""
    table = comparison.table(weights=False)
    write_json(folder / "report.json", comparison_data(comparison))
    write_text(folder / "table.csv", as_csv(Table(_all_columns(comparison), _all_rows(comparison))))
    write_text(folder / "table.tex", as_latex(table))
    _write_frames(comparison, folder / "frames.csv")
    sheets = {}
    for number, method in enumerate(comparison.scores):
        sheets[method] = []
        for rank, name, mean in ranked(comparison, method):
            picture = f"clips/{number}_{rank}.png"
            write_picture(folder / picture, clip(comparison, method, name))
            sheets[method].append((picture, f"{rank}: {name}, {mean:.1f} dB"))
    write_text(folder / "index.html", _page(comparison, table, sheets))


def _write_frames(comparison: MethodComparison, path: Path) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = list(next(iter(comparison.scores.values()))[0])
    writer.writerow(["method", "video", "frame", *keys])
    for method, videos in comparison.scores.items():
        for name, scores in zip(comparison.videos, videos):
            for frame, values in enumerate(zip(*(scores[key].tolist() for key in keys))):
                about = csv_text(method), csv_text(name), frame
                writer.writerow([*about, *("" if v != v else repr(v) for v in values)])
    write_text(path, out.getvalue())


def ranked(comparison: MethodComparison, method: str) -> list[tuple[str, str, float]]:
    """Return (rank, video, PSNR) of a method's best, median and worst video; fewer if there are fewer videos."""
    means = {name: float(np.mean(scores["psnr"])) for name, scores in zip(comparison.videos, comparison.scores[method])}
    names = sorted(means, key=means.__getitem__, reverse=True)
    chosen = {"best": names[0], "median": names[len(names) // 2], "worst": names[-1]}
    if len(names) < len(RANKS):
        chosen = {rank: chosen[rank] for rank in (("best", "worst") if len(names) > 1 else ("best",))}
    return [(rank, name, means[name]) for rank, name in chosen.items()]


def clip(comparison: MethodComparison, method: str, video: str) -> Image.Image:
    """Return a contact sheet of a video, a moment a row: truth, the method's frame, their difference."""
    made = match_videos(comparison.methods[method], comparison.videos, comparison.truth)
    count = len(comparison.scores[method][list(comparison.videos).index(video)]["psnr"])
    moments = {round(i * (count - 1) / (MOMENTS - 1)) for i in range(MOMENTS)}
    pairs = zip(*(_frames_at(videos[video], moments) for videos in (comparison.videos, made)))
    rows = [[true, result, difference(result.resize(true.size), true, AMPLIFICATION)] for true, result in pairs]
    return contact_sheet(rows, ("truth", printable(method), f"difference x {AMPLIFICATION}"), PANEL)


def _frames_at(path: Path, moments: Collection[int]) -> list[Image.Image]:
    return [frame for number, frame in enumerate(read_frames(path)) if number in moments]


def _page(comparison: MethodComparison, table: Table, sheets: dict[str, list[tuple[str, str]]]) -> str:
    shown = {c.key: c for c in table.columns if c.key not in comparison.needs}
    spreads = [shown[key] for key in ("psnr", "psnr_published", "ssim", "lpips") if key in shown]
    return _template().render(
        comparison=comparison,
        table=table,
        sheets=sheets,
        number=lambda value, column: f"{value:.{column.digits}f}",
        missing=sorted(set(comparison.needs.values())),
        faults=FAULTS if comparison.with_paper else (),
        biases=bias_lines(comparison),
        differences=comparison.differences(),
        intervals=plots.intervals(Table(table.columns, {m: table.rows[m] for m in comparison.methods})),
        spreads=[plots.distribution(comparison, column) for column in spreads],
    )


def _template():
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise InputError(f"The page needs jinja2 ({error}); run pip install jinja2, or leave out --out.") from error
    shown = {str: lambda text: printable(text, "\n")}  # other texts, such as plots, are marked as safe
    environment = Environment(autoescape=True, finalize=lambda value: shown.get(type(value), lambda same: same)(value))
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def bias_lines(comparison: MethodComparison) -> list[str]:
    """Return for each method about how much of its distances is due to the number of features."""
    titles = {c.key: c.title for c in comparison.columns(weights=True)}
    return [
        f"{method} {titles[key]} {bias:.1f}"
        for method, biases in comparison.biases.items()
        for key, bias in biases.items()
        if bias == bias
    ]
