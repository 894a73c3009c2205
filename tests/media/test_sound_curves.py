"""Loudness and onsets of synthetic sounds."""

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.media.sound_curves import find_onsets, loudness

RATE = 16_000


def clicks(times, seconds, rate=RATE, noise=0.002):
    """A decaying tone at each of the times, in stereo."""
    sound = np.random.default_rng(0).normal(0, noise, (2, round(seconds * rate)))
    decay = np.arange(round(0.05 * rate)) / rate
    for time in times:
        first = round(time * rate)
        part = sound[:, first : first + len(decay)]
        part += (np.sin(2 * np.pi * 900 * decay) * np.exp(-decay / 0.012))[: part.shape[1]]
    return sound


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_onsets_are_found_to_a_hundredth_of_a_second(rate):
    times = np.cumsum(np.random.default_rng(1).uniform(0.15, 0.7, 20))
    onsets = find_onsets(clicks(times, 15, rate), rate)
    assert len(onsets.times) == len(times) and np.abs(onsets.times - times).max() < 0.012
    assert onsets.curve.min() >= 0 and onsets.curve.max() == 1
    peaks = onsets.curve[np.round(times * onsets.curve_rate).astype(int)]
    assert len(onsets.curve) / onsets.curve_rate == pytest.approx(15, abs=0.1) and peaks.shape == times.shape


def test_a_sustained_sound_has_no_onset_after_its_begin():
    tone = np.sin(2 * np.pi * 220 * np.arange(4 * RATE) / RATE)
    assert (find_onsets(tone[None], RATE).times < 0.1).all()
    both = clicks([1.0, 2.0, 3.0], 4) + 0.3 * tone
    assert np.allclose([t for t in find_onsets(both, RATE).times if t > 0.1], [1, 2, 3], atol=0.012)


def test_onsets_of_a_long_sound_do_not_depend_on_its_blocks(monkeypatch):
    sound = clicks(np.arange(0.5, 9, 0.5), 9)
    whole = find_onsets(sound, RATE)
    monkeypatch.setattr("magicdance_core.media.sound_curves.BLOCK", 7)
    parts = find_onsets(sound, RATE)
    assert np.allclose(parts.curve, whole.curve) and np.array_equal(parts.times, whole.times)


def test_loudness_follows_the_sound():
    sound = np.concatenate([np.zeros(RATE), np.full(RATE, 0.5), np.full(RATE, 0.05)])[None]
    values = loudness(sound, RATE, 100, 25.0)
    assert (values[:23] == 0).all() and (values[27:48] == 1).all()
    assert np.allclose(values[53:73], values[60]) and 0.3 < values[60] < 0.7  # 20 dB less
    assert (values[78:] == 0).all()  # the sound is over


@pytest.mark.parametrize("sound", [np.zeros((2, RATE)), np.zeros((2, 0)), np.full((1, RATE), 1e-6)])
def test_silence_is_refused(sound):
    for call in (lambda: loudness(sound, RATE, 4, 30.0), lambda: find_onsets(sound, RATE)):
        with pytest.raises(InputError, match="The audio is silent"):
            call()


def test_a_sound_shorter_than_its_windows_is_refused():
    with pytest.raises(InputError, match=r"0\.05 s long: give at least"):
        find_onsets(np.ones((1, 800)), RATE)
