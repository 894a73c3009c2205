"""A study as files: JSON, CSV, LaTeX and a page that shows it."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..files import atomic_write
from ..media import contact_sheet, read_frames, write_json, write_picture
from . import plots
from .difference import difference
from .study import Study
from .table import Column, Table, as_csv, as_data, as_latex
from .videos import match_videos

MOMENTS = 4  # frames of a clip on a contact sheet
PANEL = 160
AMPLIFIED = 3  # differences are shown this much stronger
TEMPLATE = Path(__file__).with_name("page.html")
RANKS = ("best", "median", "worst")


def check_libraries() -> None:
    """Raise InputError where a library that the page needs is missing, before anything is measured."""
    plots.library()
    _template()


def remarks(study: Study, weights: bool) -> list[str]:
    """What belongs below the table: differences from the first method, biases, missing weights, warnings."""
    lines = []
    columns = {c.key: c for c in study.columns(weights=False)}
    for (one, two), cells in study.differences().items():
        if one != next(iter(study.scores)):
            continue
        parts = [f"{c.title} {cells[key].text(c.digits)}" for key, c in columns.items() if key in cells]
        lines.append(f"{one} less {two}, paired: " + "; ".join(parts))
    if biases := bias_lines(study):
        lines.append("due to few frames or clips, about: " + "; ".join(biases))
    if study.needs and not weights:
        missing = ", ".join(c.title for c in study.columns(weights=True) if c.key in study.needs)
        lines.append(f"with --weights DIR also: {missing} (see --weights-help)")
    return lines + [f"warning: {warning}" for warning in study.warnings]


def report(study: Study) -> dict:
    """The whole study as plain data."""
    pairs = study.differences()
    return {
        "protocol": "published" if study.published else "correct",
        "videos": len(study.videos),
        "frames": study.frames,
        "clips": study.clips,
        "methods": as_data(Table(_all_columns(study), _all_rows(study))),
        "differences": {f"{one} - {two}": as_data(Table((), {"": cells}))[""] for (one, two), cells in pairs.items()},
        "small_sample_bias": study.biases,
        "warnings": study.warnings,
        "problems": study.problems,
    }


def _all_columns(study: Study) -> tuple[Column, ...]:
    known = {c.key: c for c in study.columns(weights=True)}
    keys = list(known) + [key for method in study.statistics.values() for key in method if key not in known]
    return tuple(known.get(key, Column(key, key)) for key in dict.fromkeys(keys))


def _all_rows(study: Study) -> dict:
    """Every metric in its correct and its published form, whatever the protocol shows."""
    return {method: {c.key: study.cell(method, c.key) for c in _all_columns(study)} for method in study.methods}


def write(study: Study, folder: Path) -> None:
    """report.json, table.csv, table.tex, frames.csv, index.html with its pictures, into a folder."""
    table = study.table(weights=False)
    write_json(folder / "report.json", report(study))
    write_text(folder / "table.csv", as_csv(Table(_all_columns(study), _all_rows(study))))
    write_text(folder / "table.tex", as_latex(table))
    _write_frames(study, folder / "frames.csv")
    sheets = {}
    for number, method in enumerate(study.scores):
        sheets[method] = []
        for rank, name, mean in ranked(study, method):
            picture = f"clips/{number}_{rank}.png"
            write_picture(folder / picture, clip(study, method, name))
            sheets[method].append((picture, f"{rank}: {name}, {mean:.1f} dB"))
    write_text(folder / "index.html", _page(study, table, sheets))


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")


def _write_frames(study: Study, path: Path) -> None:
    with atomic_write(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        keys = list(next(iter(study.scores.values()))[0])
        writer.writerow(["method", "video", "frame", *keys])
        for method, videos in study.scores.items():
            for name, scores in zip(study.videos, videos):
                for frame, values in enumerate(zip(*(scores[key].tolist() for key in keys))):
                    writer.writerow([method, name, frame, *("" if v != v else repr(v) for v in values)])


def ranked(study: Study, method: str) -> list[tuple[str, str, float]]:
    """(rank, video, PSNR) of a method's best, median and worst video; fewer where there are fewer videos."""
    means = {name: float(np.mean(scores["psnr"])) for name, scores in zip(study.videos, study.scores[method])}
    names = sorted(means, key=means.get, reverse=True)
    chosen = {"best": names[0], "median": names[len(names) // 2], "worst": names[-1]}
    if len(names) < len(RANKS):
        chosen = {rank: chosen[rank] for rank in (("best", "worst") if len(names) > 1 else ("best",))}
    return [(rank, name, means[name]) for rank, name in chosen.items()]


def clip(study: Study, method: str, video: str) -> Image.Image:
    """Some moments of a video, one a row: truth, the method's frame, their difference."""
    made = match_videos(study.methods[method], study.videos, study.truth)
    count = len(study.scores[method][list(study.videos).index(video)]["psnr"])
    moments = {round(i * (count - 1) / (MOMENTS - 1)) for i in range(MOMENTS)}
    pairs = zip(*(_frames_at(videos[video], moments) for videos in (study.videos, made)))
    rows = [[true, result, difference(result.resize(true.size), true, AMPLIFIED)] for true, result in pairs]
    return contact_sheet(rows, ("truth", method, f"difference x {AMPLIFIED}"), PANEL)


def _frames_at(path: Path, moments: Collection[int]) -> list[Image.Image]:
    return [frame for number, frame in enumerate(read_frames(path)) if number in moments]


def _page(study: Study, table: Table, sheets: dict[str, list[tuple[str, str]]]) -> str:
    shown = {c.key: c for c in table.columns}
    spreads = [shown[key] for key in ("psnr", "psnr_published", "ssim", "lpips") if key in shown]
    return _template().render(
        study=study,
        table=table,
        sheets=sheets,
        number=lambda value, column: f"{value:.{column.digits}f}",
        missing=sorted(set(study.needs.values())),
        biases=bias_lines(study),
        differences=study.differences(),
        intervals=plots.intervals(table),
        spreads=[plots.spread(study, column) for column in spreads],
    )


def _template():
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise InputError(f"The page needs jinja2 ({error}); run pip install jinja2, or leave --out away.") from error
    return Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))


def bias_lines(study: Study) -> list[str]:
    """Of each method about how much of its distances is due to the small number of features."""
    titles = {c.key: c.title for c in study.columns(weights=True)}
    return [
        f"{method} {titles[key]} {bias:.1f}"
        for method, biases in study.biases.items()
        for key, bias in biases.items()
        if bias == bias
    ]
