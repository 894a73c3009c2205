"""Motions on the beat: accents nearer to clicks, smooth and bounded time."""

from dataclasses import replace

import numpy as np
import pytest
from media.test_sound_curves import RATE, clicks

from magicdance_core.errors import InputError
from magicdance_core.media.sound_curves import find_onsets
from magicdance_core.pose.beat import MAX_SPEED, find_accents, match_to_beats, motion_speed, plot_match, resample
from magicdance_core.puppets import Choreography, Identity, puppet_clip

FPS, FRAMES = 30.0, 300


def dance(seed, frames=FRAMES):
    return puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), range(frames), 256)


def distance(times, beats):
    return np.abs(times[:, None] - beats).min(axis=1).mean()


@pytest.mark.parametrize("seed, tempo", [(0, 112), (1, 106), (2, 93), (4, 127), (6, 107)])
def test_accents_come_at_least_twice_as_near_to_the_clicks(seed, tempo):
    frames, times = dance(seed), np.arange(0.21, FRAMES / FPS, 60 / tempo)
    beats = find_onsets(clicks(times, FRAMES / FPS), RATE).times
    match = match_to_beats(frames, beats, FPS)
    before, after = match.distances
    assert after < before / 2
    again = find_accents(motion_speed(match.frames, FPS), FPS)  # of the motion itself, not of our book-keeping
    assert distance(again, times) < distance(match.accents, times) / 1.8
    steps = np.diff(match.sources)
    assert steps.max() <= MAX_SPEED + 1e-9 and steps.min() >= 0.5 - 1e-9
    assert len(match.frames) == FRAMES and match.sources[0] == 0 and match.sources[-1] > FRAMES - 4
    assert np.abs(np.diff(steps)).max() < 0.6  # no jerks


def test_a_motion_on_the_beat_stays():
    frames = dance(6)
    accents = find_accents(motion_speed(frames, FPS), FPS)
    match = match_to_beats(frames, accents, FPS)
    assert np.abs(match.sources - np.arange(FRAMES)).max() < 0.05


def test_accents_are_the_stops_of_a_motion():
    """A point that moves for half a second and rests for half a second."""
    phase = np.arange(240) / FPS
    place = np.floor(phase) + np.clip((phase % 1) * 2, 0, 1) ** 2 * (3 - 2 * np.clip((phase % 1) * 2, 0, 1))
    (person,) = dance(0, 1)[0].people
    frames = [
        replace(dance(0, 1)[0], people=(replace(person, body=person.body + np.float32([40 * x, 0, 0])),)) for x in place
    ]
    accents = find_accents(motion_speed(frames, FPS), FPS)
    assert len(accents) == 7 and np.allclose(np.diff(accents), 1, atol=0.05) and (accents % 1 > 0.45).all()


def test_shift_of_zero_changes_nothing_and_limits_hold():
    frames = dance(1)
    beats = np.arange(0.3, 10, 0.53)
    assert np.allclose(match_to_beats(frames, beats, FPS, 0.0).sources, np.arange(FRAMES), atol=1e-6)
    little, more = (
        np.abs(match_to_beats(frames, beats, FPS, s).sources - np.arange(FRAMES)).max() for s in (0.05, 0.25)
    )
    assert little < more


def test_points_are_interpolated_where_both_frames_show_them():
    frames = dance(2, 3)
    (person,) = frames[1].people
    frames[1] = replace(frames[1], people=(replace(person, left_hand=np.zeros((21, 3))),))
    made = resample(frames, np.array([0.5, 1.25, 2.0]))
    assert np.allclose(made[0].people[0].body, (frames[0].people[0].body + frames[1].people[0].body) / 2, atol=1e-3)
    assert not made[0].people[0].left_hand.any() and not made[1].people[0].left_hand.any()
    assert np.array_equal(made[2].people[0].body, frames[2].people[0].body)


def test_plot_has_a_row_for_music_and_both_motions():
    frames = dance(0)
    onsets = find_onsets(clicks(np.arange(0.2, 10, 0.55), 10), RATE)
    picture = plot_match(match_to_beats(frames, onsets.times, FPS), onsets, FPS)
    assert picture.size == (1200, 464)
    colours = {colour for _, colour in picture.getcolors(100_000)}
    assert {(232, 116, 59), (76, 139, 245), (96, 72, 58)} <= colours


def test_bad_input_is_refused():
    frames, beats = dance(0), np.arange(0.3, 10, 0.5)
    with pytest.raises(InputError, match="no onset within the 10.0 s"):
        match_to_beats(frames, np.array([12.0]), FPS)
    with pytest.raises(InputError, match="no accents"):
        match_to_beats([frames[0]] * 60, beats, FPS)
    with pytest.raises(InputError, match="max_shift is 3.0: give 0 to 2"):
        match_to_beats(frames, beats, FPS, 3.0)
    with pytest.raises(InputError, match="has 2 frames: give at least 4"):
        match_to_beats(frames[:2], beats, FPS)
