"""What an ablation found: two measures more of transferred puppets, and a table and a plot over its seeds."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from magicdance_core.data.frame_sets import regions_of
from magicdance_core.evaluation.metrics import psnr, to_float
from magicdance_core.evaluation.puppets import Scene
from magicdance_core.files import atomic_write

FINER, PATCH, REACH = 4, 2.5, 4.0
"""How much finer the grid is on which patches are compared; half a patch and the search, in pixels of 32 x 32."""
FLAT = 0.02
"""A patch whose values spread less than this, of 0..1, looks alike everywhere and tells nothing."""


@dataclass(frozen=True)
class Recipe:
    """One way to train, and what it is in words."""

    name: str
    meaning: str


MEASURES = {
    "psnr": ("PSNR, dB", 2, True),
    "ssim": ("SSIM", 3, True),
    "psnr_moving": ("where it changes, dB", 2, True),
    "psnr_head": ("head, dB", 2, True),
    "pose_error": ("pose error, % of side", 2, False),
}
"""Key of the scores -> title, digits, whether more is better."""


def displacement(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> float:
    """How far body points are from where the driving pose has them: the mean, in % of the picture's side.

    Around each of the 18 points the truth's patch is searched in the result (least squared difference, at most
    REACH away): no detector is needed, and a limb in the wrong place is seen. Points on flat ground are left out.
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
                if patch.std() < FLAT:
                    continue
                found = cv2.matchTemplate(_square(fine[1], centre_x, centre_y, half + reach), patch, cv2.TM_SQDIFF)
                _, _, (left, top), _ = cv2.minMaxLoc(found)
                distances.append(np.hypot(left - reach, top - reach) / (FINER * frame.width))
    return 100 * float(np.mean(distances))


def head_psnr(scenes: Sequence[Scene], generated: Sequence[Sequence[Image.Image]]) -> float:
    """PSNR within the box of the head, dB, the mean over all frames."""
    values = []
    for scene, made in zip(scenes, generated):
        for frame, truth, image in zip(scene.keypoints, scene.truth, made):
            x0, y0, x1, y1 = regions_of(frame.people[0])[0].round().astype(int)
            box = np.s_[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
            values.append(psnr(to_float(image)[box], to_float(truth)[box]))
    return float(np.nanmean(values))


def write_tables(out: Path, variants: Sequence[Recipe], seeds: Sequence[dict[str, dict]], size: dict) -> str:
    """Write results.json, table.md, plot.svg (where matplotlib is) and pictures.png; the table."""
    rows = ["| | " + " | ".join(title for title, _, _ in MEASURES.values()) + " |", "|---" * (1 + len(MEASURES)) + "|"]
    for variant in variants:
        cells = [_cell([seed[variant.name][key] for seed in seeds], digits) for key, (_, digits, _) in MEASURES.items()]
        rows.append(f"| {variant.name} | " + " | ".join(cells) + " |")
    for ending, title in (("_copy", "the reference copied"), ("_vae", "the VAE's reconstruction of the truth")):
        cells = [
            _cell([seed[variants[0].name][key + ending] for seed in seeds], digits)
            if key + ending in seeds[0][variants[0].name] else "" for key, (_, digits, _) in MEASURES.items()
        ]  # fmt: skip
        rows.append(f"| {title} | " + " | ".join(cells) + " |")
    table = "\n".join(rows) + "\n"
    for name, text in (
        ("table.md", table),
        ("results.json", json.dumps({"size": size, "seeds": seeds}, indent=1) + "\n"),
    ):
        with atomic_write(out / name) as part:
            part.write_text(text, encoding="utf-8")
    _plot(out / "plot.svg", variants, seeds)
    return table


def _cell(values: list[float], digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _plot(path: Path, variants: Sequence[Recipe], seeds: Sequence[dict[str, dict]]) -> None:
    """Each seed a point, their mean a line; a panel a measure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(2.5 * len(MEASURES) + 1.5, 3.2), layout="constrained")
    axes = figure.subplots(1, len(MEASURES), sharey=True)
    for ax, (key, (title, _, more)) in zip(axes, MEASURES.items()):
        for place, variant in enumerate(variants):
            values = [seed[variant.name][key] for seed in seeds]
            ax.plot(values, [place] * len(values), "o", color="#4c8bf5", alpha=0.6, markersize=5)
            ax.plot([statistics.fmean(values)] * 2, [place - 0.3, place + 0.3], color="#20242a", linewidth=2)
        ax.set_title(f"{title}\n({'more' if more else 'less'} is better)", fontsize=9)
        ax.set_yticks(range(len(variants)), [variant.name for variant in variants], fontsize=8)
        ax.set_ylim(len(variants) - 0.5, -0.5)
        ax.tick_params(axis="x", labelsize=8)
        ax.grid(axis="x", alpha=0.25)
    with atomic_write(path) as part:
        figure.savefig(part, format="svg", metadata={"Date": None})


def _fine(picture: Image.Image, margin: int) -> np.ndarray:
    larger = picture.resize((picture.width * FINER, picture.height * FINER), Image.Resampling.BICUBIC)
    return np.pad(to_float(larger).astype(np.float32), ((margin, margin), (margin, margin), (0, 0)), mode="edge")


def _square(picture: np.ndarray, x: int, y: int, half: int) -> np.ndarray:
    return picture[y - half : y + half + 1, x - half : x + half + 1]
