"""What a motion can follow in sound: its loudness, and the times of its onsets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

SILENCE = 1e-4  # RMS, -80 dB
QUIET, LOUD = -35.0, -5.0  # dB relative to the loudest moment: where a mouth is closed, and wide open
WINDOW, HOP = 0.046, 0.01  # seconds, of spectra
COMPRESSION = 1000.0  # of magnitudes, before the logarithm
# An onset is the largest of its neighbours and this much above their mean (Dixon, "Onset detection revisited", 2006).
NEIGHBOURS, MEAN_OF, ABOVE_MEAN = 0.06, 0.3, 0.1
BLOCK = 2048  # spectra at once


def loudness(sound: np.ndarray, rate: int, frames: int, fps: float) -> np.ndarray:
    """Return how loud the sound is at each frame, in [0, 1]: float64 [frames].

    sound: float [channels, samples]. It is measured in decibels over two frames, relative to its loudest moment; 0
    where the sound has ended.
    Raises InputError if it is silent.
    """
    power = _mono(sound) ** 2
    total = np.concatenate([[0.0], np.cumsum(power)])
    centres = (np.arange(frames) + 0.5) / fps * rate
    half = max(rate / fps, 1.0)
    first, last = (np.clip(np.round(centres + way * half), 0, len(power)).astype(int) for way in (-1, 1))
    rms = np.sqrt((total[last] - total[first]) / (2 * half))
    decibels = 20 * np.log10(np.maximum(rms, 1e-9) / max(rms.max(initial=0), 1e-9))
    return np.clip((decibels - QUIET) / (LOUD - QUIET), 0, 1)


@dataclass(frozen=True)
class Onsets:
    """times: of the onsets, in seconds. curve: the spectral flux that they are peaks of, in [0, 1], at `curve_rate`
    values a second, the first at 0."""

    times: np.ndarray
    curve: np.ndarray
    curve_rate: float


def find_onsets(sound: np.ndarray, rate: int) -> Onsets:
    """Return the onsets of a sound, float [channels, samples]: peaks of the increase of its spectrum.

    Raises InputError if it is silent, or too short.
    """
    samples = _mono(sound)
    hop, size = max(1, round(HOP * rate)), 2 ** round(np.log2(WINDOW * rate))
    if len(samples) < 4 * size:
        raise InputError(f"The audio is {len(samples) / rate:.2f} s long: give at least {4 * size / rate:.2f} s.")
    flux, before = [], None
    for spectra in _spectra(np.pad(samples, (size // 2, 0)), size, hop):
        rows = spectra if before is None else np.concatenate([before, spectra])
        flux.append(np.maximum(np.diff(rows, axis=0), 0).sum(axis=1))
        before = spectra[-1:]
    curve = np.concatenate([[0.0], *flux])
    curve /= max(curve.max(), 1e-9)
    peaks = _peaks(curve, *(max(1, round(seconds * rate / hop)) for seconds in (NEIGHBOURS, MEAN_OF)))
    # A window begins to contain an attack half its length before its centre reaches it; most of it by a quarter.
    return Onsets(peaks * hop / rate + size / 4 / rate, curve, rate / hop)


def _mono(sound: np.ndarray) -> np.ndarray:
    samples = np.atleast_2d(np.asarray(sound, np.float64)).mean(axis=0)
    if not len(samples) or not np.isfinite(samples).all() or np.sqrt((samples**2).mean()) < SILENCE:
        raise InputError("The audio is silent: give one with sound.")
    return samples


def _spectra(samples: np.ndarray, size: int, hop: int) -> Iterator[np.ndarray]:
    """Yield compressed magnitudes [n, size / 2 + 1] of windows, `hop` samples apart."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    taper = np.hanning(size)
    for first in range(0, len(windows), BLOCK):
        magnitudes = np.abs(np.fft.rfft(windows[first : first + BLOCK] * taper)) / size
        yield np.log1p(COMPRESSION * magnitudes)


def _peaks(curve: np.ndarray, near: int, far: int) -> np.ndarray:
    """Return the places of values that are the largest within `near` and ABOVE_MEAN above the mean within `far`."""
    padded = np.pad(curve, near)
    largest = np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1).max(axis=1)
    mean = np.lib.stride_tricks.sliding_window_view(np.pad(curve, far, mode="edge"), 2 * far + 1).mean(axis=1)
    places = np.flatnonzero((curve >= largest) & (curve > mean + ABOVE_MEAN))
    return places[np.concatenate([[True], np.diff(places) > near])[: len(places)]]
