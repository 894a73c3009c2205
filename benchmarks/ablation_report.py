"""Report of an ablation: two more metrics of transferred puppets, and a table and a plot over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from magicdance_core.data.frame_sets import regions_of
from magicdance_core.evaluation import plots
from magicdance_core.evaluation.bootstrap import draw_counts, interval
from magicdance_core.evaluation.metrics import psnr, to_float
from magicdance_core.evaluation.puppet_scores import Scene
from magicdance_core.files import write_text
from magicdance_core.media import write_json

FINER, PATCH, REACH = 4, 2.5, 4.0
"""Upsampling before patches are compared; half the side of a patch and of the search, in pixels of 32 x 32."""
MIN_DEVIATION = 0.02
"""Least standard deviation of a patch that can be located, of values in [0, 1]."""


FULL = "full recipe"


@dataclass(frozen=True)
class Recipe:
    """A way to train, with its description, and FID / Face-Cos of the paper's Table 3 if it is one of its rows."""

    name: str
    description: str
    published: str = ""


METRICS = {
    "psnr": ("PSNR, dB", 2, True),
    "ssim": ("SSIM", 3, True),
    "psnr_moving": ("where it changes, dB", 2, True),
    "psnr_head": ("head, dB", 2, True),
    "psnr_masked": ("PSNR on masked maps, dB", 2, True),
    "pose_error": ("pose error, % of side", 2, False),
}
"""Key of the scores -> title, digits, whether more is better."""


def displacement(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> list[float]:
    """Return each scene's mean distance of body points from those of the driving pose, in % of the picture's side.

    Around each of the 18 points the truth's patch is searched in the result (least squared difference, at most REACH
    away), so that no detector is needed. Points on patches without structure are left out.
    """
    means = []
    for scene, made in zip(scenes, generated):
        distances = []
        for frame, truth, image in zip(scene.keypoints, scene.truth, made):
            unit = frame.width / 32
            half, reach = round(PATCH * unit * FINER), round(REACH * unit * FINER)
            fine = [_fine(picture, half + reach) for picture in (truth, image)]
            for x, y, confidence in frame.people[0].body:
                if confidence <= 0 or not (0 <= x < frame.width and 0 <= y < frame.height):
                    continue
                centre_x, centre_y = (round(FINER * value) + half + reach for value in (x, y))
                patch = _square(fine[0], centre_x, centre_y, half)
                if patch.std() < MIN_DEVIATION:
                    continue
                found = cv2.matchTemplate(_square(fine[1], centre_x, centre_y, half + reach), patch, cv2.TM_SQDIFF)
                _, _, (left, top), _ = cv2.minMaxLoc(found)
                distances.append(np.hypot(left - reach, top - reach) / (FINER * frame.width))
        means.append(100 * float(np.mean(distances)))
    return means


def head_psnr(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> list[float]:
    """Return each scene's PSNR in dB within the box of the head, the mean over its frames."""
    means = []
    for scene, made in zip(scenes, generated):
        values = []
        for frame, truth, image in zip(scene.keypoints, scene.truth, made):
            x0, y0, x1, y1 = regions_of(frame.people[0])[0].round().astype(int)
            box = np.s_[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
            values.append(psnr(to_float(image)[box], to_float(truth)[box]))
        means.append(float(np.nanmean(values)))
    return means


def write_tables(
    out: Path, recipes: Sequence[Recipe], seeds: Sequence[dict[str, dict]], size: dict, base: str = FULL
) -> str:
    """Write results.json, table.md and plot.svg, and return the tables.

    seeds: for each, recipe -> metric -> a value a person. size: how much was done, for the JSON. The first table has
    means with 95 % intervals, the second the differences from the recipe `base`.
    """
    drawn = _draws(len(seeds), len(next(iter(seeds[0].values()))["psnr"]))
    values = {
        recipe.name: {key: np.array([seed[recipe.name][key] for seed in seeds]) for key in seeds[0][recipe.name]}
        for recipe in recipes
    }
    quoted = any(recipe.published for recipe in recipes)
    titles = ["paper: FID / Face-Cos"] * quoted + [title for title, _, _ in METRICS.values()]
    head = "| | " + " | ".join(titles) + " |"
    rows = [head, "|---" * (1 + len(titles)) + "|"]
    for recipe in recipes:
        cells = [_cell(values[recipe.name][key], drawn, digits) for key, (_, digits, _) in METRICS.items()]
        rows.append("| " + " | ".join([recipe.name, *[recipe.published] * quoted, *cells]) + " |")
    full = values[base]
    for suffix, title in (("_copy", "the reference copied"), ("_vae", "the VAE's reconstruction of the truth")):
        cells = [
            _cell(full[key + suffix], drawn, digits) if key + suffix in full else ""
            for key, (_, digits, _) in METRICS.items()
        ]
        rows.append("| " + " | ".join([title, *[""] * quoted, *cells]) + " |")
    rows += ["", head.replace("| |", f"| minus {base} |", 1), rows[1]]
    for recipe in recipes:
        if recipe.name != base:
            own = values[recipe.name]
            cells = [_cell(own[key] - full[key], drawn, digits, "+") for key, (_, digits, _) in METRICS.items()]
            rows.append("| " + " | ".join([recipe.name, *[recipe.published] * quoted, *cells]) + " |")
    table = "\n".join(rows) + "\n"
    write_text(out / "table.md", table)
    write_json(out / "results.json", {"size": size, "seeds": list(seeds)})
    write_text(out / "plot.svg", _plot(recipes, values))
    return table


def _draws(seeds: int, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each seed and each person is drawn in each resample; all cells of a table share them."""
    return draw_counts(seeds, seed=1) / seeds, draw_counts(people, seed=2) / people


def _cell(values: np.ndarray, drawn: tuple[np.ndarray, np.ndarray], digits: int, sign: str = "") -> str:
    """Return the mean of `[seeds, people]`, and its 95 % interval, for which both are resampled."""
    mean = f"{values.mean():{sign}.{digits}f}"
    found = interval(np.einsum("rs,sp,rp->r", drawn[0], values, drawn[1]))
    return f"{mean} ({found[0]:{sign}.{digits}f} to {found[1]:{sign}.{digits}f})" if found else mean


def _plot(recipes: Sequence[Recipe], values: dict[str, dict[str, np.ndarray]]) -> str:
    """Plot a panel a metric, a point a seed and a line for their mean; return the text of an SVG."""
    figures, _ = plots.import_matplotlib()
    figure = figures.Figure(figsize=(2.5 * len(METRICS) + 1.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(METRICS), sharey=True)
    for ax, (key, (title, _, more)) in zip(axes, METRICS.items()):
        for row, recipe in enumerate(recipes):
            means = values[recipe.name][key].mean(1)
            ax.plot(means, [row] * len(means), "o", color=plots.COLOURS[0], alpha=0.6, markersize=5)
            ax.plot([means.mean()] * 2, [row - 0.3, row + 0.3], color="#20242a", linewidth=2)
        ax.set_title(f"{title}\n({'more' if more else 'less'} is better)", fontsize=9)
        ax.set_yticks(range(len(recipes)), [recipe.name for recipe in recipes], fontsize=8)
        ax.set_ylim(len(recipes) - 0.5, -0.5)
        ax.tick_params(axis="x", labelsize=8)
        ax.grid(axis="x", alpha=0.25)
    return plots.as_svg(figure)


def _fine(picture: Image.Image, margin: int) -> np.ndarray:
    larger = picture.resize((picture.width * FINER, picture.height * FINER), Image.Resampling.BICUBIC)
    return np.pad(to_float(larger).astype(np.float32), ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def _square(picture: np.ndarray, x: int, y: int, half: int) -> np.ndarray:
    return picture[y - half : y + half + 1, x - half : x + half + 1]
