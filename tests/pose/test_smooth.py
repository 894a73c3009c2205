"""Smoothing of noisy puppet keypoints: jitter and lag."""

import numpy as np
import pytest

from benchmarks.pose_accuracy import smoothing_errors
from magicdance_core.choices import SMOOTHING_METHODS
from magicdance_core.errors import InputError
from magicdance_core.pose import PoseFrame
from magicdance_core.pose.keypoints import frames_to_points, points_to_frames, points_to_person
from magicdance_core.pose.smooth import one_euro, savitzky_golay, smooth
from magicdance_core.puppets import Choreography, Identity, puppet_clip


@pytest.mark.parametrize(
    "method, jitter, error, lag", [("savitzky-golay", 0.35, 0.65, 0.05), ("one-euro", 0.62, 0.85, 0.6)]
)
def test_jitter_is_reduced_without_lag(method, jitter, error, lag):
    figures = smoothing_errors(method, clips=2, frames=90)
    assert figures["jitter_after"] < jitter * figures["jitter_before"]
    assert figures["error_after"] < error * figures["error_before"]
    assert abs(figures["lag"]) <= lag


def test_clean_dances_are_hardly_changed():
    clip = puppet_clip(Identity.from_seed(1, "test"), Choreography.from_seed(1, "test"), range(60))
    truth, made = frames_to_points(clip), frames_to_points(smooth(clip))
    assert np.linalg.norm(made - truth, axis=-1)[:, :130].mean() < 1
    assert np.ptp(made[:, 4, 1]) > 0.97 * np.ptp(truth[:, 4, 1])  # how far the wrist goes


def row(xs, confidence=1.0):
    points = np.zeros((len(xs), 136, 3), np.float32)
    points[:, 0] = np.c_[xs, np.full(len(xs), 50.0), np.broadcast_to(confidence, len(xs))]
    points[:, 1] = (5, 5, 1)
    return points


@pytest.mark.parametrize("method", SMOOTHING_METHODS)
def test_points_are_weighted_by_confidence(method):
    xs = np.full(21, 100.0)
    xs[10] = 130
    doubtful = np.ones(21)
    doubtful[10] = 0.2
    sure, unsure = (
        frames_to_points(smooth(points_to_frames(row(xs, c), 200, 200), method))[10, 0, 0] for c in (1.0, doubtful)
    )
    assert unsure - 100 < 0.5 * (sure - 100)


def test_a_jump_at_a_low_score_does_not_survive():
    xs, scores = np.full(21, 100.0), np.full(21, 0.9)
    xs[10], scores[10] = 160, 0.05
    made = frames_to_points(smooth(points_to_frames(row(xs, scores), 200, 200)))
    assert np.abs(made[:, 0, 0] - 100).max() < 0.5


def test_equal_weights_are_scipys_filter():
    from scipy.signal import savgol_filter

    xs = np.random.default_rng(2).normal(100, 5, 30)
    uneven = np.ones(30)
    uneven[-1] = 0.999999  # takes the weighted road
    expected = savgol_filter(xs, 7, 2)
    assert savitzky_golay(row(xs, uneven), 7, 2)[:, 0, 0] == pytest.approx(expected, abs=1e-3)


def test_savitzky_golay_keeps_parabolas_whatever_the_weights():
    frames = np.arange(30.0)
    xs = 20 + 3 * frames + 0.1 * frames**2
    weights = np.random.default_rng(0).uniform(0.2, 1, 30)
    assert savitzky_golay(row(xs, weights), 9, 2)[:, 0, 0] == pytest.approx(xs, abs=1e-3)


def test_one_euro_is_the_published_filter():
    """The filter for one signal, written out as in the paper, against ours."""
    xs = np.random.default_rng(1).normal(100, 5, 40)
    fps, cutoff, beta = 30.0, 1.2, 0.04

    def alpha(fc):
        tau = 1 / (2 * np.pi * fc)
        return 1 / (1 + tau * fps)

    expected, speed = [xs[0]], 0.0
    for x in xs[1:]:
        speed = alpha(1.0) * (x - expected[-1]) * fps + (1 - alpha(1.0)) * speed
        a = alpha(cutoff + beta * abs(speed))
        expected.append(a * x + (1 - a) * expected[-1])
    assert one_euro(row(xs), fps, cutoff, beta)[:, 0, 0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("method", SMOOTHING_METHODS)
def test_missing_points_stay_missing_and_split_the_curve(method):
    points = row(np.r_[np.full(10, 10.0), np.zeros(5), np.full(10, 90.0)])
    points[10:15, 0] = 0
    made = frames_to_points(smooth(points_to_frames(points, 100, 100), method))
    assert not made[10:15, 0].any()
    assert made[:10, 0, 0] == pytest.approx(10) and made[15:, 0, 0] == pytest.approx(90)


@pytest.mark.parametrize("method", SMOOTHING_METHODS)
@pytest.mark.parametrize("length", [1, 2, 3, 6])
def test_short_clips_use_a_smaller_window(method, length):
    xs = np.linspace(10, 20, length)
    assert len(smooth(points_to_frames(row(xs), 100, 100), method)) == length


def test_several_people_are_smoothed_separately():
    a, b = row(np.full(9, 10.0)), row(np.full(9, 90.0))
    frames = []
    for k, (p, q) in enumerate(zip(a, b, strict=True)):
        people = [points_to_person(p, 0), points_to_person(q, 1)]
        frames.append(PoseFrame(tuple(people[:: 1 if k % 2 else -1]), 100, 100))
    made = smooth(frames)
    assert all({p.identity: round(float(p.body[0, 0])) for p in f.people} == {0: 10, 1: 90} for f in made)


def test_empty_frames_stay_and_wrong_numbers_are_refused():
    assert len(smooth([PoseFrame((), 9, 9)] * 3)) == 3 and smooth([]) == []
    for settings in ({"window": 4}, {"window": 3, "order": 3}, {"method": "mean"}, {"method": "one-euro", "fps": 0}):
        with pytest.raises(InputError):
            smooth([], **settings)
