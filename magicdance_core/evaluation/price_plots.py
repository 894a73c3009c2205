"""Plots of what speed costs, as SVG."""

from __future__ import annotations

from .plots import COLOURS, as_svg, library
from .price import Price

TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
AGAINST_STEPS = ("psnr", "psnr_moving", "expression", "still")


def against_arithmetic(price: Price) -> str:
    """Every way a point: PSNR against arithmetic; lines join a scheduler's numbers of steps, presets have names."""
    figures, _ = library()
    figure = figures.Figure(figsize=(8, 5), layout="constrained")
    ax, table = figure.subplots(), price.table()

    def place(name: str) -> tuple[float, float]:
        return table.rows[name]["arithmetic"].value, table.rows[name]["psnr"].value

    curves, marks = price.curves(), iter("ovs^<>DPXpd*hH8")
    for number, (scheduler, names) in enumerate(curves.items()):
        width = max(1.5, 4.5 - 1.5 * number)  # curves that lie on each other are all seen
        style = {"color": COLOURS[number], "linewidth": width, "markersize": 2.5 + width, "label": scheduler}
        ax.plot(*zip(*map(place, names)), "-o", **style)
    joined = {name for names in curves.values() for name in names}
    for name in price.scores:
        if name.startswith("preset "):
            ax.plot(*place(name), "*", color="#20242a", markersize=13, zorder=3)
            where = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            ax.annotate(name.removeprefix("preset "), place(name), (0, -18), **where)
        elif name not in joined:
            ax.plot(*place(name), next(marks), color="#7a8793", markersize=6, label=name)
    ax.set_xlabel("arithmetic of a whole run, the published procedure's is 1", fontsize=9)
    ax.set_ylabel("PSNR, dB", fontsize=9)
    ax.set_xscale("log")
    ax.set_xticks(TICKS, labels=map(str, TICKS))
    ax.set_xticks([], minor=True)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25)
    ax.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return as_svg(figure)


def against_steps(price: Price) -> str:
    """A panel a metric: a line a scheduler, with intervals over people."""
    figures, _ = library()
    figure = figures.Figure(figsize=(2.9 * len(AGAINST_STEPS), 3), layout="constrained")
    table = price.table()
    columns = {column.key: column for column in table.columns}
    for ax, key in zip(figure.subplots(1, len(AGAINST_STEPS)), AGAINST_STEPS):
        for colour, (scheduler, names) in zip(COLOURS, price.curves().items()):
            steps, cells = [price.steps(name) for name in names], [table.rows[name][key] for name in names]
            ax.plot(steps, [cell.value for cell in cells], "-o", color=colour, markersize=4, label=scheduler)
            known = [(step, *cell.interval) for step, cell in zip(steps, cells) if cell.interval]
            if known:
                ax.fill_between(*zip(*known), color=colour, alpha=0.08, linewidth=0)
        arrow = {1: "more is better", -1: "less is better"}[columns[key].better]
        ax.set_title(f"{columns[key].title}\n({arrow})", fontsize=9)
        ax.set_xlabel("steps", fontsize=8)
        ax.tick_params(labelsize=8)
        ax.grid(alpha=0.25)
    figure.axes[0].legend(fontsize=8, frameon=False)
    return as_svg(figure)
