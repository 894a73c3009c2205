"""Distances of Gaussians known in closed form, and of features against torchmetrics."""

import numpy as np
import pytest
import torch

from magicdance_core.evaluation.bootstrap import draw_counts
from magicdance_core.evaluation.frechet import (
    Gaussian,
    KernelSums,
    frechet_bias,
    frechet_distance,
    frechet_of_features,
    resampled_frechet,
)


def features(count, width=6, seed=0, shift=0.0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def gaussian(mean, covariance):
    """A Gaussian with the given moments, by a Cholesky factor."""
    mean, covariance = (torch.as_tensor(value, dtype=torch.float64) for value in (mean, covariance))
    return Gaussian(mean, torch.linalg.cholesky(covariance).T)


def test_distance_of_gaussians_in_closed_form():
    one = gaussian([1.0, 2.0], [[4.0, 0.0], [0.0, 9.0]])
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(one, gaussian([4.0, -2.0], [[4.0, 0.0], [0.0, 9.0]])) == pytest.approx(25)
    # Of covariances that commute the square root is that of their eigenvalues: (2 - 1)^2 + (3 - 5)^2.
    assert frechet_distance(one, gaussian([1.0, 2.0], [[1.0, 0.0], [0.0, 25.0]])) == pytest.approx(5)


def test_distance_of_covariances_that_do_not_commute():
    a, b = (x.T @ x for x in (features(9, 5, seed).double() for seed in (1, 2)))
    values = np.linalg.eigvals((a @ b).numpy())
    expected = float(a.trace() + b.trace()) - 2 * np.sqrt(values.real).sum()
    zero = torch.zeros(5)
    assert frechet_distance(gaussian(zero, a), gaussian(zero, b)) == pytest.approx(expected)


@pytest.mark.parametrize("counts", [(4, 5), (4, 40), (40, 5), (40, 50)])
def test_distance_of_features_is_that_of_their_moments(counts):
    one, two = features(counts[0], seed=1), features(counts[1], seed=2, shift=0.5)
    (m1, c1), (m2, c2) = ((x.double().mean(0), torch.cov(x.double().T)) for x in (one, two))
    root = np.sqrt(np.linalg.eigvals((c1 @ c2).numpy()).real.clip(min=0)).sum()
    expected = float((m1 - m2).square().sum() + c1.trace() + c2.trace()) - 2 * root
    assert frechet_of_features(one, two) == pytest.approx(expected, rel=1e-6)
    assert frechet_of_features(one, two) == pytest.approx(frechet_of_features(two, one))
    order = torch.randperm(len(one), generator=torch.Generator().manual_seed(0))
    assert frechet_of_features(one[order], two) == pytest.approx(frechet_of_features(one, two))


def test_weights_are_repetitions():
    x, times = features(5), torch.tensor([2.0, 0.0, 1.0, 3.0, 1.0], dtype=torch.float64)
    repeated = Gaussian.of(x.repeat_interleave(times.long(), dim=0))
    other = Gaussian.of(features(8, seed=3))
    assert frechet_distance(Gaussian.of(x, times), other) == pytest.approx(frechet_distance(repeated, other))


def test_resamples_are_the_distances_of_the_videos_drawn():
    one, two = [features(n, seed=n) for n in (3, 4, 5)], [features(n, seed=9 + n, shift=1) for n in (3, 4, 5)]
    drawn = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]])
    expected = [
        frechet_of_features(*(torch.cat([v for v, n in zip(side, times) for _ in range(n)]) for side in (one, two)))
        for times in drawn
    ]
    assert resampled_frechet(one, two, drawn) == pytest.approx(expected)
    assert np.isnan(resampled_frechet([one[0][:1]], [two[0]], np.array([[1]]))).all()


def test_the_bias_of_equal_distributions_is_about_the_whole_distance():
    pairs = [(features(200, 10, 2 * seed), features(200, 10, 2 * seed + 1)) for seed in range(20)]
    distance, bias = (np.mean([f(*pair) for pair in pairs]) for f in (frechet_of_features, frechet_bias))
    assert bias == pytest.approx(distance, rel=0.1)
    one, two = pairs[0]
    assert np.isnan(frechet_bias(one[:7], two))


def test_distances_are_those_of_torchmetrics():
    kid = pytest.importorskip("torchmetrics.image.kid")
    fid = pytest.importorskip("torchmetrics.image.fid")

    class Flat(torch.nn.Module):
        num_features = 12

        def forward(self, pictures):
            return pictures.flatten(1).float()

    generator = torch.Generator().manual_seed(0)
    one, two = (torch.rand(n, 3, 2, 2, generator=generator) * n / 40 for n in (30, 40))
    theirs = fid.FrechetInceptionDistance(feature=Flat()).set_dtype(torch.float64)
    theirs.update(one, real=True)
    theirs.update(two, real=False)
    ours = [x.flatten(1) for x in (one, two)]
    assert frechet_of_features(*ours) == pytest.approx(float(theirs.compute()), rel=1e-6)
    ours = [x[:30].double() for x in ours]  # theirs wants equally many
    expected = float(kid.poly_mmd(*ours))
    assert KernelSums.of([ours[0]], [ours[1]]).distance() == pytest.approx(expected)


def test_kernel_distance_does_not_depend_on_how_videos_are_cut():
    one, two = features(9, seed=1), features(7, seed=2, shift=0.3)
    whole = KernelSums.of([one], [two]).distance()
    assert KernelSums.of([one[:2], one[2:]], [two[:5], two[5:]]).distance() == pytest.approx(whole)
    cut = KernelSums.of([one[:2], one[2:]], [two[:5], two[5:]])
    only = KernelSums.of([one[2:]], [two[5:]]).distance()
    assert cut.distance(np.array([0, 1])) == pytest.approx(only)
    assert len({round(cut.distance(times), 9) for times in draw_counts(2, 20)}) > 1
