"""The report of a run: one HTML file with curves, pictures and the command that uses the weights."""

import base64
import html
import io
import statistics
from collections.abc import Sequence
from pathlib import Path

import yaml

from ..checks import printable
from ..files import read_bytes, write_text
from ..schema import plain
from .config import TrainingConfig
from .run_folder import RunFolder

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #20242a; background: #f6f7f9; margin: 0 auto; padding: 24px;
  max-width: 1100px; }
h1 { font-size: 24px } h2 { font-size: 18px; margin-top: 32px } img, svg { max-width: 100%; height: auto }
section { background: #fff; border: 1px solid #e1e5ea; border-radius: 8px; padding: 12px 16px; overflow-x: auto }
table { border-collapse: collapse } td, th { text-align: right; padding: 4px 12px; border-bottom: 1px solid #edf0f3 }
td:first-child, th:first-child { text-align: left } pre { white-space: pre-wrap } figure { margin: 12px 0 }
figcaption { color: #697586 }
"""
MIN_POINTS = 3
"""Number of points from which a curve is drawn."""
LABELS = {"loss": "loss", "held_out": "held out"}
BAND_LABELS = {
    "held_out_1": "held out, little noise",
    "held_out_2": "second quarter",
    "held_out_3": "third quarter",
    "held_out_4": "held out, much noise",
}
COLOURS = ("#4c8bf5", "#e8743b", "#3aa76d", "#b05cc6", "#d9a514")


def write_report(config: TrainingConfig, folder: RunFolder, command: str) -> None:
    """Write `folder.report` from the log and the pictures of a run. Curves need matplotlib."""
    records = folder.records()
    parts = [
        f"<h1>{html.escape(printable(folder.path.absolute().name))}</h1>",
        f"<p>{html.escape(printable(command))}</p>",
        _summary(records),
    ]
    for stage in config.stages:
        of_stage = [record for record in records if record["stage"] == stage.name]
        parts.append(f"<h2>{html.escape(stage.name)}</h2>")
        parts += [f"<section>{curves}</section>" for curves in _curves(of_stage)]
        for path in sorted(folder.pictures.glob(f"*-{stage.name}-*.png")):
            parts.append(_figure(path))
    text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
    parts.append(f"<h2>Configuration</h2><section><pre>{html.escape(text)}</pre></section>")
    page = "\n".join(parts)
    write_text(
        folder.report,
        f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Training</title><style>{STYLE}</style>\n'
        f"<body>{page}</body></html>\n",
    )


def _summary(records: Sequence[dict]) -> str:
    heads = ("stage", "steps", "loss at the end", "held-out loss", "by noise, little to much", "steps per second")
    rows = ["<tr>" + "".join(f"<th>{head}</th>" for head in heads) + "</tr>"]
    for name in dict.fromkeys(record["stage"] for record in records):
        of_stage = [record for record in records if record["stage"] == name]
        losses = [record["loss"] for record in of_stage if "loss" in record]
        rates = [record["rate_of_steps"] for record in of_stage if "rate_of_steps" in record]
        bands = ", ".join(filter(None, (_change(of_stage, band) for band in BAND_LABELS)))
        cells = (
            name, of_stage[-1]["step"], f"{losses[-1]:.4g}" if losses else "", _change(of_stage, "held_out"), bands,
            f"{statistics.median(rates):.3g}" if rates else "",
        )  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
    return f"<section><table>{''.join(rows)}</table></section>"


def _change(records: Sequence[dict], key: str) -> str:
    """Return the first and the last value of a key."""
    values = [record[key] for record in records if key in record]
    return " → ".join(f"{value:.4g}" for value in (values[:1] + values[1:][-1:]))


def _curves(records: Sequence[dict]) -> list[str]:
    """Return curves of loss and held-out losses as SVG; none if there are too few points."""
    if all(sum(key in record for record in records) < MIN_POINTS for key in ("loss", "held_out")):
        return []
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        return ["<p>Curves need matplotlib: pip install matplotlib, then run the same command again.</p>"]
    figure = Figure(figsize=(9, 3))
    left, right = figure.subplots(1, 2)
    for ax, labels in ((left, LABELS), (right, BAND_LABELS)):
        for (key, label), colour in zip(labels.items(), COLOURS):
            points = [(record["step"], record[key]) for record in records if key in record]
            if points:
                ax.plot(*zip(*points), "o-", color=colour, markersize=3, label=label)
        ax.set_xlabel("step", fontsize=9)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.25)
        if ax.lines:
            ax.legend(fontsize=8, frameon=False)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "magicdance"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    return [out.getvalue()[out.getvalue().index("<svg") :]]


def _figure(path: Path) -> str:
    data = base64.b64encode(read_bytes(path)).decode()
    caption = html.escape(printable(path.stem))
    return (
        f'<figure><figcaption>{caption}</figcaption><img src="data:image/png;base64,{data}" alt="{caption}"></figure>'
    )
