"""Steadiness of videos on dances of puppets: the error of the change from frame to frame.

    python -m benchmarks.steadiness --motion magicdance_core/assets/embedded_motion.safetensors

Freezing a picture improves still pixels and blurring it moving ones, so both are measured, and the PSNR.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from magicdance_core.commands.common import (
    add_model_arguments,
    file_path,
    load_model,
    sampling_settings,
    write_report,
)
from magicdance_core.errors import InputError
from magicdance_core.evaluation.bootstrap import summarize
from magicdance_core.evaluation.metrics import MOVING_IN_DRAWING, STILL_IN_DRAWING, psnr, to_float
from magicdance_core.evaluation.puppet_scores import SEED_STRIDE, Scene, make_scene, reconstruct
from magicdance_core.evaluation.table import Cell, Column, Table, as_data, as_text
from magicdance_core.media import check_animation_path, contact_sheet, write_animation
from magicdance_core.models import Networks
from magicdance_core.models.motion_module import NoiseKind
from magicdance_core.pipeline import MagicDancePipeline
from magicdance_core.sampling import SamplingSettings, Windows
from magicdance_core.sampling.denoise import resolve_windows

from .command import add_puppet_arguments, benchmark_parser, run_benchmark

CHOREOGRAPHY_FPS, FPS = 30.0, 15.0
NOISES: tuple[NoiseKind, ...] = ("independent", "mixed", "shared")
SHOWN, PANEL = (
    ("independent noise", "independent noise + motion", "shared noise", "shared noise + motion", "truth"),
    192,
)
FIXED = "shared noise + motion, fixed windows"
COLUMNS = (
    Column("still", "still, 1/255", 2, -1),
    Column("moving", "moving, 1/255", 1, -1),
    Column("psnr", "PSNR, dB", 1, +1),
    Column("seams", "seams / inside", 3, 0),
)

Videos = Mapping[str, Sequence[np.ndarray]]
"""Row -> a video of each person, float `[F, H, W, 3]` in [0, 1]."""


def evaluate_steadiness(
    pipe: MagicDancePipeline,
    seed: int = 0,
    people: int = 4,
    frames: int = 24,
    fps: float = FPS,
    settings: SamplingSettings | None = None,
    noises: Sequence[NoiseKind] = NOISES,
) -> tuple[Table, Videos]:
    """Let unseen puppets dance with several kinds of noise, with the motion module and without.

    Rows: independent and shared noise without a motion module; independent, mixed and shared noise with it, if the
    pipeline has one; shared noise in windows with fixed borders, where seams would show most; the median over three
    frames of the row of shared noise; the reference as a still picture; the VAE's reconstruction of the truth.
    Columns: still and moving, the mean absolute error of the change to the next frame, in 1/255, where no channel of
    the truth changes by STILL_IN_DRAWING and where some changes by more than MOVING_IN_DRAWING; psnr of frames; seams,
    for windows with fixed borders: the error of a change at a border, divided by that of the same change in moving
    windows, divided by the person's mean elsewhere: 1 if there are no seams. (Only runs with a module compare, since it
    removes more of the error of easy changes.)
    Intervals are over people. settings: of the runs, whose noise the rows replace. noises: only these rows.
    Returns the table, and the videos of its rows and of the truth. Raises InputError for fewer than two frames.
    """
    if frames < 2:
        raise InputError("The change from frame to frame needs two frames; give more.")
    size, module = pipe.defaults["sample_size"], pipe.motion
    moments = [k * CHOREOGRAPHY_FPS / fps for k in range(frames)]
    scenes = [make_scene(SEED_STRIDE * seed + k, moments, size) for k in range(people)]
    settings = settings or SamplingSettings()
    chosen = resolve_windows(Networks(pipe.unet, motion=module), frames, settings)
    borders = borders_of(chosen, frames) if isinstance(chosen, Windows) else np.zeros(frames - 1, bool)

    def generate(noise: NoiseKind, windows: Windows | None = settings.windows) -> list[np.ndarray]:
        made = []
        for number, scene in enumerate(
            tqdm(scenes, desc=f"{noise}{' + motion' if pipe.motion else ''}", unit="person")
        ):
            generator = torch.Generator().manual_seed(seed + number)
            own = replace(settings, noise=noise, windows=windows)
            out = pipe(scene.reference, list(scene.poses), generator=generator, settings=own)
            made.append(stack(list(out.frames)))
        return made

    rows: dict[str, list[np.ndarray]] = {}
    with pipe.without_motion():
        for noise in noises:
            if noise != "mixed":
                rows[f"{noise} noise"] = generate(noise)
    if "shared" in noises:
        rows["median of 3, shared"] = [_median(video) for video in rows["shared noise"]]
    rows["reference as a still picture"] = [np.repeat(to_float(scene.reference)[None], frames, 0) for scene in scenes]
    if module is not None:
        for noise in noises:
            rows[f"{noise} noise + motion"] = generate(noise)
        if "shared" in noises and isinstance(chosen, Windows) and borders.any():
            rows[FIXED] = generate("shared", replace(chosen, shift=False))
    rows["VAE of the truth"] = [reconstruct(pipe, scene.truth) for scene in scenes]
    cells = {}
    for name, videos in rows.items():
        moving_windows = rows["shared noise + motion"] if name == FIXED else [None] * people
        cells[name] = _cells([steadiness_scores(*of, borders) for of in zip(videos, scenes, moving_windows)])
    return Table(COLUMNS, cells), rows | {"truth": [stack(scene.truth) for scene in scenes]}


def side_by_side(videos: Videos, person: int = 0) -> Iterator[Image.Image]:
    """Yield contact sheets of one person's videos, frame by frame: rows in SHOWN that were measured."""
    shown = {name: videos[name][person] for name in SHOWN if name in videos}
    for frames in zip(*shown.values()):
        pictures = [Image.fromarray((frame * 255).round().astype(np.uint8)) for frame in frames]
        yield contact_sheet([pictures], list(shown), panel=PANEL)


def borders_of(windows: Windows, frames: int) -> np.ndarray:
    """Return bool `[frames - 1]`: which changes to the next frame cross a border of a window of the first step."""
    crossed = np.zeros(frames - 1, bool)
    for window in windows.at(0, frames):
        inside = np.isin(np.arange(frames), window.frames)
        crossed |= inside[1:] != inside[:-1]
    return crossed


def _cells(scored: Sequence[dict[str, np.ndarray]]) -> dict[str, Cell]:
    means, intervals = summarize(scored)
    cells = {column.key: Cell(means[column.key], intervals[column.key]) for column in COLUMNS}
    return cells if cells["seams"].known else cells | {"seams": Cell(note="-")}


def steadiness_scores(
    video: np.ndarray, scene: Scene, moving_windows: np.ndarray | None = None, borders: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the columns of `evaluate_steadiness` of a video float [F, H, W, 3] in [0, 1]: a value a frame, or NaN.

    moving_windows, borders: for seams, the video whose windows move, and what `borders_of` returns.
    """
    truth = stack(scene.truth)
    error, moved = _error(video, truth), np.abs(np.diff(truth, axis=0)).max(-1)
    masks: dict[str, Callable] = {"still": lambda m: m < STILL_IN_DRAWING, "moving": lambda m: m > MOVING_IN_DRAWING}
    scores = {
        name: np.array([_mean(part[mask(of)]) for part, of in zip(error, moved)] + [np.nan])
        for name, mask in masks.items()
    }
    scores["psnr"] = np.array([psnr(one, other) for one, other in zip(video, truth)])
    scores["seams"] = np.full(len(error), np.nan)
    if moving_windows is not None and borders is not None:
        more = error.mean((1, 2)) / _error(moving_windows, truth).mean((1, 2))
        scores["seams"] = np.where(borders, more / _mean(more[~borders]), np.nan)
    return scores


def _error(video: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the absolute error of the change to the next frame, `[F - 1, H, W]`, in 1/255."""
    return np.abs(np.diff(video, axis=0) - np.diff(truth, axis=0)).mean(-1) * 255


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _median(video: np.ndarray) -> np.ndarray:
    padded = np.concatenate([video[:1], video, video[-1:]])
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)


def stack(pictures: Sequence[Image.Image]) -> np.ndarray:
    """Return pictures of one size as float64 [F, H, W, 3] in [0, 1]."""
    return np.stack([to_float(picture) for picture in pictures])


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    parser = benchmark_parser("steadiness", __doc__, _run)
    add_puppet_arguments(parser)
    parser.add_argument(
        "--motion", type=file_path, metavar="FILE", help="a motion module, for rows with and without it"
    )
    parser.add_argument("--noise", action="append", choices=NOISES, help="only the rows of this noise; may be repeated")
    parser.add_argument(
        "--animation", type=file_path, metavar="FILE", help="one person's videos side by side (.gif, .mp4, ...)"
    )
    add_model_arguments(parser)
    return run_benchmark(parser, arguments)


def _run(options: argparse.Namespace) -> None:
    if options.animation:
        check_animation_path(options.animation)
    pipe = load_model(options.model, options.device, options.dtype)
    if options.motion:
        pipe.load_motion(options.motion)
    table, videos = evaluate_steadiness(
        pipe,
        options.seed,
        options.identities,
        options.frames,
        settings=sampling_settings(pipe, options),
        noises=options.noise or NOISES,
    )
    print(as_text(table))
    if options.animation:
        with write_animation(options.animation, FPS) as add:
            for frame in side_by_side(videos):
                add(frame)
        print(f"videos side by side in {options.animation}")
    write_report({"model": options.model, **as_data(table)}, options.json)


if __name__ == "__main__":
    sys.exit(main())
