"""Generated frames against true ones, whatever made them."""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from ..media import read_frames
from .scores import PIXEL_SCORES, mean_scores, score_frames
from .videos import frame_pairs


def compare(generated: str | Path, truth: str | Path) -> dict:
    """Mean metrics over the frames of two folders, videos or pictures.

    Frames of two folders belong together by their names without suffix; all others by their order. Generated frames of
    another size are resized to the true ones' (bilinear), as published.

    Returns frames (their number), the means of scores.PIXEL_SCORES (see metrics for each), width and height of the
    first true frame, and resized, the number of frames that were. Raises InputError where frames are missing or cannot
    be read.
    """
    pairs = tqdm(frame_pairs(generated, truth), total=read_frames(truth).count, desc="comparing", unit="frame")
    scores = score_frames(pairs, published=True)
    means = mean_scores(scores)
    return {
        "frames": len(scores["psnr"]),
        **{name: means[name] for name in PIXEL_SCORES},
        "width": int(scores["width"][0]),
        "height": int(scores["height"][0]),
        "resized": int(scores["resized"].sum()),
    }
