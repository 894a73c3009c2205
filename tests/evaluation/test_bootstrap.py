"""Intervals against what theory says of them."""

import numpy as np
import pytest

from magicdance_core.evaluation.bootstrap import draw_counts, interval, mean_of_all, resampled_means, summarize


def test_each_resample_draws_as_many_videos_as_there_are():
    drawn = draw_counts(7, 50)
    assert drawn.shape == (50, 7) and (drawn.sum(axis=1) == 7).all() and (draw_counts(7, 50) == drawn).all()


def test_resampled_means_weigh_frames_and_skip_nan():
    videos = [np.array([1.0, 3.0]), np.array([10.0, np.nan, np.nan])]
    drawn = np.array([[2, 0], [1, 1], [0, 2]])
    assert resampled_means(videos, drawn) == pytest.approx([2, 14 / 3, 10])
    assert mean_of_all(videos) == pytest.approx(14 / 3)
    assert np.isnan(resampled_means([np.array([np.nan])], np.array([[1]])))


def test_the_interval_of_a_mean_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = interval(resampled_means(list(values[:, None]), draw_counts(400, 4000)))
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_frames_of_one_video_do_not_narrow_the_interval():
    means = np.random.default_rng(0).normal(0, 1, 30)
    alike = [{"x": np.full(100, mean)} for mean in means]
    (low, high), (low_one, high_one) = (summarize(v)[1]["x"] for v in (alike, [{"x": np.array([m])} for m in means]))
    assert (low, high) == pytest.approx((low_one, high_one))


def test_one_video_or_constant_values_have_no_interval():
    assert summarize([{"x": np.arange(5.0)}]) == ({"x": 2.0}, {"x": None})
    assert summarize([{"x": np.ones(5)}] * 3)[1] == {"x": None}
