"""Warp a motion in time so that its accents fall on the beats of music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..checks import number
from ..errors import InputError
from ..media.beat_plot import plot_beats
from ..media.sound_curves import Onsets
from .filling import typical_size
from .keypoints import SLICES, PoseFrame, apply_per_person, frames_to_points

MAX_SPEED = 1.5
"""No moment plays faster than this, or slower than 1 / 2: the slope of time stays in [0.5, 1.5]."""
MAX_SHIFT = 0.25  # seconds between an accent and its beat
SMOOTHING = 0.08  # seconds, of the speed
DEPTH = 0.25  # least fall of the speed to an accent, relative to a fast moment's
STIFFNESS = 0.02  # weight of a warp's bends against the distances of accents to beats, both in seconds
KNOT = 0.1  # seconds between the knots of a warp
ENDS = 10.0  # weight of first and last frame, which stay where they are
JOINTS = slice(0, 14)  # of the body, without eyes and ears


@dataclass(frozen=True)
class BeatMatch:
    """A motion on the beat.

    frames: the warped motion, of the same length. sources: the time in the given motion, in frames, that each shows.
    beats, accents, moved: seconds; of the music, of the given motion, and where the accents are now. speed: of the
    given motion at each frame, relative to a fast moment.
    """

    frames: list[PoseFrame]
    sources: np.ndarray
    beats: np.ndarray
    accents: np.ndarray
    moved: np.ndarray
    speed: np.ndarray

    @property
    def distances(self) -> tuple[float, float]:
        """The mean distance of accents to their nearest beats in seconds, before and after."""
        before, after = (np.abs(times[:, None] - self.beats).min(axis=1).mean() for times in (self.accents, self.moved))
        return float(before), float(after)


def match_to_beats(
    frames: Sequence[PoseFrame], beats: np.ndarray, fps: float, max_shift: float = MAX_SHIFT
) -> BeatMatch:
    """Return a motion whose accents fall on beats as far as that is possible smoothly.

    frames: at `fps`, in one canvas size; everybody is warped alike, the accents are the first person's. beats: seconds,
    increasing. max_shift: seconds by which an accent may move; accents without a beat that near stay free.
    Time runs forwards at 0.5 to MAX_SPEED times its pace, and the first and the last frame stay.
    Raises InputError if there are no beats within the motion, or if it has no accents.
    """
    max_shift = number(float, max_shift, "max_shift", 0.0, 2.0)
    if len(frames) < 4:
        raise InputError(f"The motion has {len(frames)} frames: give at least 4.")
    length = (len(frames) - 1) / fps
    beats = np.asarray(beats, np.float64)
    beats = beats[(beats > 0) & (beats < length)]
    if not len(beats):
        raise InputError(f"The audio has no onset within the {length:.1f} s of the motion: give other music.")
    speed = motion_speed(frames, fps)
    accents = find_accents(speed, fps)
    if not len(accents):
        raise InputError("The motion has no accents, moments where it stops: give a motion of a dance.")
    pairs = _pairs(accents, beats, max_shift)
    sources = _warp(len(frames), fps, [beats[j] for _, j in pairs], [accents[i] for i, _ in pairs])
    moved = np.interp(accents * fps, sources, np.arange(len(frames))) / fps
    return BeatMatch(resample(frames, sources), sources, beats, accents, moved, speed)


def motion_speed(frames: Sequence[PoseFrame], fps: float) -> np.ndarray:
    """Return the mean speed of the first person's joints at each frame, smoothed, relative to the 90th percentile."""
    from scipy.ndimage import gaussian_filter1d

    first = [replace(frame, people=frame.people[:1]) for frame in frames]
    points = frames_to_points(first)[:, SLICES["body"]][:, JOINTS]
    steps = np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1)
    seen = (points[1:, :, 2] > 0) & (points[:-1, :, 2] > 0)
    means = np.where(seen, steps, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    speed = np.concatenate([means[:1], (means[1:] + means[:-1]) / 2, means[-1:]])  # at frames, not between them
    speed = gaussian_filter1d(speed, SMOOTHING * fps, mode="nearest")
    fast = np.percentile(speed, 90)
    still = 1e-4 * (typical_size(frames_to_points(first)) or 1.0)
    return speed / fast if fast > still else np.zeros(len(frames))


def find_accents(speed: np.ndarray, fps: float) -> np.ndarray:
    """Return the times in seconds of minima of the speed that follow a fall of DEPTH from a maximum."""
    from scipy.signal import find_peaks

    minima, _ = find_peaks(-speed, prominence=DEPTH)
    before, at, after = (speed[minima + step] for step in (-1, 0, 1))
    bend = before - 2 * at + after
    offsets = np.where(bend > 0, (before - after) / np.where(bend > 0, 2 * bend, 1), 0)  # of a parabola's minimum
    return (minima + np.clip(offsets, -0.5, 0.5)) / fps


def resample(frames: Sequence[PoseFrame], sources: np.ndarray) -> list[PoseFrame]:
    """Return the motion at other times, one for each frame, in frames from 0 to the last one.

    A point is interpolated between two frames that both show it, else it is that of the nearer one.
    """
    before = np.clip(np.floor(sources).astype(int), 0, len(frames) - 1)
    after = np.minimum(before + 1, len(frames) - 1)
    share = (sources - before)[:, None, None]

    def change(points: np.ndarray) -> np.ndarray:
        one, other = points[before], points[after]
        both = (one[..., 2:] > 0) & (other[..., 2:] > 0)
        return np.where(both, one + share * (other - one), np.where(share < 0.5, one, other))

    return apply_per_person(frames, change)


def _pairs(accents: np.ndarray, beats: np.ndarray, max_shift: float) -> list[tuple[int, int]]:
    """Return which accent goes to which beat, in order: as many as possible, with the least sum of distances."""
    distances = np.abs(accents[:, None] - beats)
    gains = np.where(distances <= max_shift, 1 + max_shift - distances, -np.inf)
    best = np.zeros((len(accents) + 1, len(beats) + 1))
    for i, row in enumerate(gains):
        taken = np.maximum(best[i, :-1] + row, best[i, 1:])
        best[i + 1, 1:] = np.maximum.accumulate(taken)
    pairs, i, j = [], len(accents), len(beats)
    while i and j:
        if best[i, j] == best[i, j - 1]:
            j -= 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _warp(count: int, fps: float, places: Sequence[float], sources: Sequence[float]) -> np.ndarray:
    """Return the source time in frames of each of `count` frames, so that those at `places` show `sources` (seconds).

    Least squares for the shift of time, piecewise linear between knots, whose slopes are bounded and whose bends cost.
    """
    from scipy.optimize import lsq_linear
    from scipy.sparse import csr_matrix, vstack

    length = (count - 1) / fps
    knots = max(2, round(length / KNOT))
    edges = np.linspace(0, length, knots + 1)
    wanted = np.array([*np.subtract(sources, places), 0.0])
    at = np.array([*places, length])
    weights = np.array([1.0] * len(places) + [ENDS])
    inside = np.clip(at[:, None] - edges[:-1], 0, edges[1])  # seconds of each knot's slope before each place
    bends = np.diff(np.eye(knots), axis=0) * STIFFNESS
    system = vstack([csr_matrix(inside * weights[:, None]), csr_matrix(bends)])
    goal = np.concatenate([wanted * weights, np.zeros(knots - 1)])
    slopes = lsq_linear(system, goal, (1 / 2 - 1, MAX_SPEED - 1), method="trf", lsq_solver="lsmr").x
    shift = np.interp(np.arange(count) / fps, edges, np.concatenate([[0], np.cumsum(slopes * edges[1])]))
    return np.clip(np.arange(count) + shift * fps, 0, count - 1)


def plot_match(match: BeatMatch, onsets: Onsets, fps: float) -> Image.Image:
    """Plot the spectral flux of the music and the speed of the motion before and after; see media.beat_plot."""
    seconds = (len(match.frames) - 1) / fps
    times = np.linspace(0, seconds, 1200)
    music = np.interp(times, np.arange(len(onsets.curve)) / onsets.curve_rate, onsets.curve, right=0)
    return plot_beats(
        seconds, music, match.beats,
        [("motion", match.speed, match.accents), ("matched", motion_speed(match.frames, fps), match.moved)],
    )  # fmt: skip
