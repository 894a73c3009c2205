"""Report of an ablation: two more metrics of transferred puppets, and a table and a plot over seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from magicdance_core.data.frame_sets import regions_of
from magicdance_core.evaluation import plots
from magicdance_core.evaluation.metrics import psnr, to_float
from magicdance_core.evaluation.puppet_scores import Scene
from magicdance_core.files import write_text
from magicdance_core.media import write_json

FINER, PATCH, REACH = 4, 2.5, 4.0
"""Upsampling before patches are compared; half the side of a patch and of the search, in pixels of 32 x 32."""
MIN_DEVIATION = 0.02
"""Least standard deviation of a patch that can be located, of values in [0, 1]."""


@dataclass(frozen=True)
class Recipe:
    """A way to train, with its description."""

    name: str
    description: str


METRICS = {
    "psnr": ("PSNR, dB", 2, True),
    "ssim": ("SSIM", 3, True),
    "psnr_moving": ("where it changes, dB", 2, True),
    "psnr_head": ("head, dB", 2, True),
    "pose_error": ("pose error, % of side", 2, False),
}
"""Key of the scores -> title, digits, whether more is better."""


def displacement(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> float:
    """Return the mean distance of body points from those of the driving pose, in % of the picture's side.

    Around each of the 18 points the truth's patch is searched in the result (least squared difference, at most REACH
    away), so that no detector is needed. Points on patches without structure are left out.
    """
    distances = []
    for scene, made in zip(scenes, generated):
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
    return 100 * float(np.mean(distances))


def head_psnr(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> float:
    """Return the PSNR in dB within the box of the head, the mean over all frames."""
    values = []
    for scene, made in zip(scenes, generated):
        for frame, truth, image in zip(scene.keypoints, scene.truth, made):
            x0, y0, x1, y1 = regions_of(frame.people[0])[0].round().astype(int)
            box = np.s_[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
            values.append(psnr(to_float(image)[box], to_float(truth)[box]))
    return float(np.nanmean(values))


def write_tables(out: Path, recipes: Sequence[Recipe], seeds: Sequence[dict[str, dict]], size: dict) -> str:
    """Write results.json, table.md and plot.svg, and return the table. size: how much was done, for the JSON."""
    rows = ["| | " + " | ".join(title for title, _, _ in METRICS.values()) + " |", "|---" * (1 + len(METRICS)) + "|"]
    for recipe in recipes:
        cells = [_cell([seed[recipe.name][key] for seed in seeds], digits) for key, (_, digits, _) in METRICS.items()]
        rows.append(f"| {recipe.name} | " + " | ".join(cells) + " |")
    for suffix, title in (("_copy", "the reference copied"), ("_vae", "the VAE's reconstruction of the truth")):
        cells = [
            _cell([seed[recipes[0].name][key + suffix] for seed in seeds], digits)
            if key + suffix in seeds[0][recipes[0].name] else "" for key, (_, digits, _) in METRICS.items()
        ]  # fmt: skip
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    table = "\n".join(rows) + "\n"
    write_text(out / "table.md", table)
    write_json(out / "results.json", {"size": size, "seeds": list(seeds)})
    write_text(out / "plot.svg", _plot(recipes, seeds))
    return table


def _cell(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _plot(recipes: Sequence[Recipe], seeds: Sequence[dict[str, dict]]) -> str:
    """Plot a panel a metric, a point a seed and a line for their mean; return the text of an SVG."""
    figures, _ = plots.import_matplotlib()
    figure = figures.Figure(figsize=(2.5 * len(METRICS) + 1.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(METRICS), sharey=True)
    for ax, (key, (title, _, more)) in zip(axes, METRICS.items()):
        for row, recipe in enumerate(recipes):
            values = [seed[recipe.name][key] for seed in seeds]
            ax.plot(values, [row] * len(values), "o", color=plots.COLOURS[0], alpha=0.6, markersize=5)
            ax.plot([statistics.fmean(values)] * 2, [row - 0.3, row + 0.3], color="#20242a", linewidth=2)
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
