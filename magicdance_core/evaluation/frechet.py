"""Distances of two sets of features, Frechet and kernel, also for the resamples of a bootstrap.

Sources: Heusel et al., "GANs trained by a two time-scale update rule" (2017), for the first; Binkowski et al.,
"Demystifying MMD GANs" (2018), for the second; Chong and Forsyth, "Effectively unbiased FID and Inception Score"
(2020), for the bias.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HALVES = 4  # number of random halves over which the bias is averaged
BLOCK = 1024  # rows and columns of the kernel matrix at a time


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution. mean: float64 [d]. root: float64 [r, d], r <= d, with root^T root = covariance."""

    mean: Tensor
    root: Tensor

    @classmethod
    def of(cls, features: Tensor, weights: Tensor | None = None) -> Gaussian:
        """Fit features [n, d], n >= 2, with the sample covariance. weights: float64 [n], how often each row counts."""
        features = features.double()
        if weights is None:
            weights = features.new_ones(len(features))
        total = weights.sum()
        mean = weights @ features / total
        root = (weights / (total - 1)).sqrt()[:, None] * (features - mean)
        if len(root) > root.shape[1]:
            root = torch.linalg.qr(root, mode="r").R
        return cls(mean, root)


def frechet_distance(one: Gaussian, two: Gaussian) -> float:
    """Return |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    No matrix root is needed: with C = R^T R the nonzero eigenvalues of C1 C2 are those of G G^T, G = R1 R2^T, which is
    symmetric and as small as the smaller set.
    """
    between = one.root @ two.root.T
    if between.shape[0] > between.shape[1]:
        between = between.T
    squares = torch.linalg.eigvalsh(between @ between.T).clamp(min=0)
    spread = one.root.square().sum() + two.root.square().sum() - 2 * squares.sqrt().sum()
    return float((one.mean - two.mean).square().sum() + spread.clamp(min=0))


def frechet_of_features(one: Tensor, two: Tensor) -> float:
    """Return the distance of the Gaussians of features [n, d] and [m, d]."""
    return frechet_distance(Gaussian.of(one), Gaussian.of(two))


def resampled_frechet(one: Sequence[Tensor], two: Sequence[Tensor], drawn: Iterable[np.ndarray]) -> np.ndarray:
    """Return the distance in each resample of videos: float64 [resamples], NaN for one with fewer than two features.

    one, two: features [n, d] of each video. drawn: [resamples, videos], see bootstrap.draw_counts; used for both sides.
    """
    sides = [(torch.cat(list(side)), torch.tensor([len(video) for video in side])) for side in (one, two)]
    distances = []
    for times in map(torch.from_numpy, drawn):
        gaussians = []
        for features, sizes in sides:
            weights = times.repeat_interleave(sizes).to(features.device)
            if weights.sum() > 1:
                gaussians.append(Gaussian.of(features[weights > 0], weights[weights > 0].double()))
        distances.append(frechet_distance(*gaussians) if len(gaussians) == 2 else np.nan)
    return np.array(distances)


def frechet_bias(one: Tensor, two: Tensor, seed: int = 0) -> float:
    """Estimate how much of the distance is due to the finite number of features, NaN under 8 of them.

    The bias falls as one over that number, so random halves have twice the bias of the whole.
    """
    if min(len(one), len(two)) < 8:
        return float("nan")
    generator = torch.Generator().manual_seed(seed)
    halves = []
    for _ in range(HALVES):
        chosen = (torch.randperm(len(x), generator=generator)[: len(x) // 2].to(x.device) for x in (one, two))
        halves.append(frechet_of_features(*(x[rows] for x, rows in zip((one, two), chosen))))
    return float(np.mean(halves)) - frechet_of_features(one, two)


@dataclass(frozen=True)
class KernelSums:
    """Sums of the kernel k(x, y) = (x.y / d + 1)^3 over pairs of videos, without pairs of a feature and itself.

    same_one, same_two, between: float64 [videos, videos]. sizes_one, sizes_two: features of each video.
    """

    same_one: np.ndarray
    same_two: np.ndarray
    between: np.ndarray
    sizes_one: np.ndarray
    sizes_two: np.ndarray

    @classmethod
    def of(cls, one: Sequence[Tensor], two: Sequence[Tensor]) -> KernelSums:
        """Sum block by block, so that memory stays small. one, two: features [n, d] of each video."""
        sizes = (np.array([len(video) for video in side]) for side in (one, two))
        return cls(_kernel_sums(one, one, True), _kernel_sums(two, two, True), _kernel_sums(one, two, False), *sizes)

    def distance(self, times: np.ndarray | None = None) -> float:
        """Return the unbiased squared maximum mean discrepancy. times: how often each video counts, default once."""
        times = np.ones(len(self.sizes_one)) if times is None else times.astype(float)

        def mean(sums: np.ndarray, sizes: np.ndarray) -> float:
            features = times @ sizes
            return times @ sums @ times / (features**2 - times**2 @ sizes)

        with np.errstate(invalid="ignore", divide="ignore"):
            between = times @ self.between @ times / ((times @ self.sizes_one) * (times @ self.sizes_two))
            return float(mean(self.same_one, self.sizes_one) + mean(self.same_two, self.sizes_two) - 2 * between)


def _kernel_sums(one: Sequence[Tensor], two: Sequence[Tensor], same: bool) -> np.ndarray:
    sums = np.zeros((len(one), len(two)))
    for i, x in enumerate(one):
        for j, y in enumerate(two):
            if same and j < i:
                sums[i, j] = sums[j, i]
                continue
            total = sum(float(_kernel(a, b).sum()) for a in x.split(BLOCK) for b in y.split(BLOCK))
            sums[i, j] = total - (float(_kernel_diagonal(x).sum()) if same and i == j else 0)
    return sums


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _kernel_diagonal(x: Tensor) -> Tensor:
    return (x.double().square().sum(dim=1) / x.shape[1] + 1) ** 3
