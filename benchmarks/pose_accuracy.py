"""Accuracy of filling, smoothing and retargeting on puppets, whose keypoints are known.

python -m benchmarks.pose_accuracy
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from magicdance_core.choices import SMOOTHING_METHODS
from magicdance_core.commands.common import write_report
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.filling import repair
from magicdance_core.pose.keypoints import SLICES, frames_to_points, points_to_frames
from magicdance_core.pose.retarget import retarget
from magicdance_core.pose.smooth import smooth
from magicdance_core.puppets import CLIP_SIDE, Choreography, Identity, puppet_clip

from .command import benchmark_parser, run_benchmark

_SHOWN = slice(0, SLICES["feet"].start)  # puppets have no foot points
_LAGS = np.arange(-1, 4.01, 0.1)
_FIRST = 100  # added to the seeds of people; the defaults of the methods were chosen on those below
_DRIVERS = 1000  # added to the seeds of driving people


def other_proportions(identity: Identity) -> Identity:
    """Return the identity with a child's proportions: three quarters of the height, a larger head, shorter limbs."""
    factors = {"height": 0.75, "head_height": 0.95, "head_width": 0.95, "leg_length": 0.65, "shoulder_width": 0.75,
               "upper_arm": 0.7, "lower_arm": 0.65, "hand": 0.7, "neck_length": 0.75, "hip_width": 0.85}  # fmt: skip
    return replace(identity, **{name: getattr(identity, name) * factor for name, factor in factors.items()})


def retargeting_errors(
    pairs: int = 64, moments: Sequence[float] = range(0, 300, 10), child: bool = False, seed: int = 0
) -> dict[str, float]:
    """Return mean distances to the true keypoints, in percent of the canvas: before, after, worst (pair, after).

    In each pair a puppet's dance drives another puppet, of which one frame of another dance is the reference.
    child: drivers get `other_proportions`.
    """
    before, after = [], []
    for number in _seeds(seed, pairs):
        driver, person = (Identity.from_seed(one, "test") for one in (_DRIVERS + number, number))
        dance, other = (Choreography.from_seed(2 * number + k, "test") for k in (0, 1))
        clip = puppet_clip(other_proportions(driver) if child else driver, dance, moments)
        truth = frames_to_points(puppet_clip(person, dance, moments))
        reference = puppet_clip(person, other, [int(number * 0.618 % 1 * 300)])[0]
        before.append(_distance(frames_to_points(clip), truth))
        after.append(_distance(frames_to_points(retarget(clip, reference)), truth))
    percent = 100 / CLIP_SIDE
    return {"before": np.mean(before) * percent, "after": np.mean(after) * percent, "worst": np.max(after) * percent}


def smoothing_errors(
    method: str, clips: int = 8, frames: int = 120, noise: float = 3.0, seed: int = 0, **settings
) -> dict[str, float]:
    """Smooth keypoints of puppets with Gaussian noise of `noise` pixels on each coordinate.

    Returns jitter_before, jitter_after, jitter_true: root mean square of the second difference, pixels. error_before,
    error_after: mean distance to the truth, pixels. lag: the delay, in frames, at which the result fits the truth best.
    """
    rows, random = [], np.random.default_rng(seed)
    for number in _seeds(seed, clips):
        clip = puppet_clip(Identity.from_seed(number, "test"), Choreography.from_seed(number, "test"), range(frames))
        truth = frames_to_points(clip)
        noisy = truth.copy()
        noisy[:, _SHOWN, :2] += random.normal(0, noise, noisy[:, _SHOWN, :2].shape)
        made = frames_to_points(smooth(points_to_frames(noisy, CLIP_SIDE, CLIP_SIDE, 0), method, **settings))
        rows.append({
            "jitter_before": _jitter(noisy), "jitter_after": _jitter(made), "jitter_true": _jitter(truth),
            "error_before": _distance(noisy, truth), "error_after": _distance(made, truth), "lag": _lag(made, truth),
        })  # fmt: skip
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def filling_errors(gap: int = 5, clips: int = 8, frames: int = 120, seed: int = 0) -> dict[str, float]:
    """Return mean distances to the truth, in pixels, of points filled in gaps of `gap` frames.

    hand: points of the left hand were missing; everything: all points; held: all points, with the last frame repeated.
    """
    rows = []
    for number in _seeds(seed, clips):
        clip = puppet_clip(Identity.from_seed(number, "test"), Choreography.from_seed(number, "test"), range(frames))
        truth = frames_to_points(clip)
        lost = np.arange(frames) % (3 * gap) < gap
        lost[:gap], lost[-gap:] = False, False
        hand = SLICES["left_hand"]
        without_hand, without_all = truth.copy(), truth.copy()
        without_hand[lost, hand], without_all[lost] = 0, 0
        last = np.maximum.accumulate(np.where(lost, 0, np.arange(frames)))
        rows.append({
            "hand": _distance(repair(without_hand).points[lost, hand], truth[lost, hand]),
            "everything": _distance(repair(without_all).points[lost], truth[lost]),
            "held": _distance(truth[last][lost], truth[lost]),
        })  # fmt: skip
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def drawing_speed(side: int = CLIP_SIDE, maps: int = 200) -> float:
    """Return the pose maps drawn a second, one whole puppet in each, side x side pixels."""
    clip = puppet_clip(Identity.from_seed(0, "test"), Choreography.from_seed(0, "test"), range(20))
    start = time.perf_counter()
    for k in range(maps):
        draw_pose(clip[k % len(clip)], side, side)
    return maps / (time.perf_counter() - start)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    shown = b[..., 2] > 0
    return float(np.linalg.norm(a[shown, :2] - b[shown, :2], axis=-1).mean())


def _jitter(points: np.ndarray) -> float:
    return float(np.sqrt((np.diff(points[:, _SHOWN, :2], n=2, axis=0) ** 2).mean()))


def _lag(made: np.ndarray, truth: np.ndarray) -> float:
    frames, body = np.arange(len(truth)), SLICES["body"]
    tracks = truth[:, body, :2].reshape(len(truth), -1).T
    result = made[:, body, :2].reshape(len(made), -1).T
    inner = slice(8, -8)
    errors = [
        sum(((np.interp(frames - lag, frames, t) - r)[inner] ** 2).sum() for t, r in zip(tracks, result))
        for lag in _LAGS
    ]  # fmt: skip
    return float(_LAGS[int(np.argmin(errors))])


def _seeds(seed: int, count: int) -> range:
    return range(_FIRST + seed, _FIRST + seed + count)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and return the exit status."""
    return run_benchmark(benchmark_parser("pose_accuracy", __doc__, _run), arguments)


def _run(options: argparse.Namespace) -> None:
    seed = options.seed
    report = {
        "retargeting, 64 pairs, % of the canvas": retargeting_errors(seed=seed),
        "retargeting from children, 64 pairs, % of the canvas": retargeting_errors(child=True, seed=seed),
    }
    for method in SMOOTHING_METHODS:
        report[f"smoothing, {method}, pixels of 512 and frames"] = smoothing_errors(method, seed=seed)
    for gap in (3, 5, 10):
        report[f"filling gaps of {gap} frames, pixels of 512"] = filling_errors(gap, seed=seed)
    for title, figures in report.items():
        print(f"{title}: " + ", ".join(f"{name} {value:.2f}" for name, value in figures.items()))
    speed = drawing_speed()
    print(f"drawing: {speed:.0f} maps a second of {CLIP_SIDE} x {CLIP_SIDE} pixels")
    write_report({**report, "drawn maps a second": speed}, options.json)


if __name__ == "__main__":
    sys.exit(main())
