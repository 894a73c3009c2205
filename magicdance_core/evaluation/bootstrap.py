"""95 % intervals of means, by resampling videos with replacement.

Frames of one video resemble each other, so videos are drawn, not frames. Source: Efron and Tibshirani, "An
Introduction to the Bootstrap" (1993), percentile intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95


def draw_counts(videos: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each video is drawn in each resample: int [resamples, videos], rows sum to `videos`.

    With the same seed methods see the same resamples, so that their differences are paired.
    """
    return np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), resamples)


def resampled_means(values: Sequence[np.ndarray], drawn: np.ndarray) -> np.ndarray:
    """Return the means over all frames in each resample: float64 [resamples], NaN for one without frames.

    values: for each video an array with a value a frame; NaN counts as no frame.
    """
    sums = np.array([np.nansum(video) for video in values])
    counts = np.array([np.isfinite(video).sum() for video in values])
    with np.errstate(invalid="ignore", divide="ignore"):
        return drawn @ sums / (drawn @ counts)


def interval(statistics: np.ndarray) -> tuple[float, float] | None:
    """Return the middle 95 % of a statistic's resamples, None if all are equal or none is finite."""
    known = statistics[np.isfinite(statistics)]
    if known.size == 0 or np.ptp(known) == 0:
        return None
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def mean_of_all(values: Sequence[np.ndarray]) -> float:
    """Return the mean over the frames of all videos; NaN counts as no frame, and is the mean of none."""
    known = np.concatenate([video[np.isfinite(video)] for video in values])
    return float(known.mean()) if known.size else float("nan")


def summarize(videos: Sequence[Mapping[str, np.ndarray]], resamples: int = RESAMPLES) -> tuple[dict, dict]:
    """Return means over all frames, and intervals (low, high), by metric.

    videos: for each, metric -> a value a frame. An interval is None for a single video, and if nothing varies.
    """
    drawn = draw_counts(len(videos), resamples)
    means: dict = {}
    intervals: dict = {}
    for name in videos[0]:
        values = [np.asarray(video[name], dtype=float) for video in videos]
        means[name] = mean_of_all(values)
        intervals[name] = interval(resampled_means(values, drawn)) if len(videos) > 1 else None
    return means, intervals
