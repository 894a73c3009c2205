"""Tracking people, filling gaps and dropping outliers, compared with the puppets' true keypoints."""

from dataclasses import replace

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.pose import Person, PoseFrame
from magicdance_core.pose.extraction import follow
from magicdance_core.pose.filling import count_parts, repair
from magicdance_core.pose.keypoints import SLICES, frames_to_points, points_to_frames, points_to_person
from magicdance_core.pose.tracking import select_person, track
from magicdance_core.puppets import Choreography, Identity, puppet_clip

FRAMES = 60


@pytest.fixture(scope="module")
def dance():
    """True points [F, 136, 3] of a puppet on 512 x 512 pixels."""
    clip = puppet_clip(Identity.from_seed(3, "test"), Choreography.from_seed(3, "test"), range(FRAMES))
    return frames_to_points(clip)


def moved(points, x=0.0, scale=1.0):
    shift = np.where(points[..., 2:] > 0, [x, 0, 0], 0)
    return (points * [scale, scale, 1] + shift).astype(np.float32)


def crowd(*people):
    """Frames of several point sequences, in an order that changes from frame to frame."""
    made = []
    for k, rows in enumerate(zip(*people, strict=True)):
        here = [points_to_person(row) for row in rows if row[:, 2].any()]
        made.append(PoseFrame(tuple(here[k % 2 :] + here[: k % 2]), 1024, 512))
    return made


def xs(frames, identity):
    return [p.body[1, 0] for f in frames for p in f.people if p.identity == identity]


def test_identities_do_not_depend_on_the_order(dance):
    tracked = track(crowd(dance, moved(dance, 400)))
    assert {p.identity for f in tracked for p in f.people} == {0, 1}
    assert np.ptp(np.array(xs(tracked, 1)) - xs(tracked, 0)) < 1 and xs(tracked, 0)[0] < xs(tracked, 1)[0]


def test_people_who_cross_keep_their_identities(dance):
    path = np.linspace(0, 400, FRAMES)
    there = np.stack([moved(row, x) for row, x in zip(dance, path, strict=True)])
    back = np.stack([moved(row, 400 - x, 0.9) for row, x in zip(dance[::-1], path, strict=True)])
    tracked = track(crowd(there, back))
    assert {p.identity for f in tracked for p in f.people} == {0, 1}
    assert xs(tracked, 0)[-1] > xs(tracked, 0)[0] + 300 and xs(tracked, 1)[-1] < xs(tracked, 1)[0] - 300


def test_identity_survives_short_absences_only(dance):
    gone = dance.copy()
    gone[10:20] = 0
    assert {p.identity for f in track(crowd(gone)) for p in f.people} == {0}
    assert {p.identity for f in track(crowd(gone), max_gap=5) for p in f.people} == {0, 1}


def test_duplicate_detections_are_merged(dance):
    half = dance.copy()
    half[:, 8:14] = 0
    assert all(len(f.people) == 1 and f.people[0].body[8, 2] for f in track(crowd(half, dance)))


def test_selecting_a_person(dance):
    small, large = moved(dance, 600, 0.5), dance.copy()
    small[:5] = 0
    large[40:] = 0
    tracked = track(crowd(large, small))
    sizes = [np.ptp(f.people[0].body[:, 1]) for f in select_person(tracked, "size")]
    assert min(sizes[:40]) > 200 > max(sizes[40:])
    assert [len(f.people) for f in select_person(tracked, "continuity")] == [1] * 40 + [0] * 20
    assert [len(f.people) for f in select_person(tracked, 1)] == [0] * 5 + [1] * 55
    for who, message in ((7, "people 0 to 1"), ("best", "is unknown")):
        with pytest.raises(InputError, match=message):
            select_person(tracked, who)
    with pytest.raises(InputError, match="nobody"):
        select_person([PoseFrame((), 9, 9)], 0)


def test_everybody_is_followed_through_an_absence_and_passers_by_are_dropped(dance):
    away, passing, small = moved(dance, 400), moved(dance, 200), moved(dance, 900, 0.5)
    away[5:50], passing[:40], passing[43:] = 0, 0, 0
    small[:20] = 0
    crowded = track(crowd(dance, away, passing, small))
    assert len({p.identity for f in crowded for p in f.people}) == 5
    kept = select_person(crowded, "all")
    assert {p.identity for f in kept for p in f.people} == {0, 1, 2}
    assert [p.identity for p in kept[52].people] == [0, 1, 2] and [p.identity for p in kept[30].people] == [0, 2]
    assert len(xs(kept, 1)) == 15 and np.ptp(np.array(xs(kept, 1)) - dance[[*range(5), *range(50, 60)], 1, 0]) < 1


def test_everybody_is_repaired_and_reported(dance):
    broken = moved(dance, 400)
    broken[10:14, 4] = 0
    broken[:, SLICES["face"]] = 0
    extraction = follow(crowd(dance, broken), "all")
    people = [p for frame in extraction.frames for p in frame.people]
    assert len(people) == 2 * FRAMES and all(p.body[4, 2] > 0 for p in people)
    report = extraction.report
    assert (
        report["people"] == 2
        and report["parts"]["body"]["filled"] == 4 == report["person_1"]["parts"]["body"]["filled"]
    )
    assert report["missing"] == [f"Person 1: the face was missing in all {FRAMES} frames with the person."]
    alone = follow(crowd(dance), "all").report
    assert alone["missing"] == [] and "person_0" not in alone


def test_continuity_continues_after_a_cut(dance):
    cut = dance.copy()
    cut[30:] = moved(cut[30:], 500)
    chosen = select_person(track(crowd(cut)), "continuity")
    assert all(len(f.people) == 1 for f in chosen) and len({f.people[0].identity for f in chosen}) == 1


def test_gaps_are_filled_near_the_truth_and_marked(dance):
    lost = np.arange(FRAMES) % 12 < 4
    lost[:5], lost[-5:] = False, False
    hand = SLICES["left_hand"]
    broken = dance.copy()
    broken[lost, hand] = 0
    made = repair(broken)
    error = np.linalg.norm(made.points[lost, hand] - dance[lost, hand], axis=-1)
    held = np.linalg.norm(dance[np.flatnonzero(lost) - 4, hand] - dance[lost, hand], axis=-1)
    assert error[..., :2].mean() < 4 and error.mean() < held.mean() / 2
    assert made.filled.sum() == 21 * lost.sum() and not made.dropped.any()
    assert (made.points[lost, hand, 2] == 0.5).all() and (made.points[~lost] == dance[~lost]).all()
    counts = count_parts(broken, made)
    total = 21 * FRAMES
    assert counts["left_hand"] == {"found": total - 21 * lost.sum(), "filled": 21 * lost.sum(), "lost": 0}
    assert counts["feet"] == {"found": 0, "filled": 0, "lost": 6 * FRAMES}


def test_a_filled_hand_moves_with_its_wrist(dance):
    broken = dance.copy()
    broken[20:30, SLICES["left_hand"]] = 0
    made = repair(broken).points
    wrist, palm = made[:, 7, :2], made[:, SLICES["left_hand"].start, :2]
    assert np.linalg.norm(palm - wrist, axis=1).max() < 1  # the hand's first point is the wrist


def test_long_gaps_and_both_ends_stay_empty(dance):
    broken = dance.copy()
    broken[:4], broken[20:40], broken[-3:] = 0, 0, 0
    made = repair(broken, max_gap=15)
    assert not made.filled.any() and not made.points[20:40].any() and not made.points[:4].any()
    assert repair(broken, max_gap=20).filled.sum() == 20 * 130


def test_outliers_are_dropped_and_dancing_is_not(dance):
    broken = dance.copy()
    broken[15, 4, :2] += (150, -90)
    broken[30:32, 10, :2] += (0, -200)
    broken[40, [9, 10, 12, 13]] = broken[40, [12, 13, 9, 10]]  # legs swapped: dropped where they are apart
    made = repair(broken)
    assert made.dropped[15, 4] and made.dropped[30:32, 10].all()
    assert made.dropped.sum() <= 3 + 4 and not made.dropped[41:].any()
    error = np.linalg.norm(made.points[..., :2] - dance[..., :2], axis=-1)
    assert error[[15, 30, 31], [4, 10, 10]].max() < 12
    assert not repair(dance).dropped.any()


@pytest.mark.parametrize("step", [1, 2, 3])  # 30, 15 and 10 frames a second
@pytest.mark.parametrize("seed", range(12))
def test_no_dance_is_taken_for_an_outlier(seed, step):
    moments = range(0, 90 * step, step)
    clip = puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), moments)
    assert not repair(frames_to_points(clip)).dropped.any()


@pytest.mark.parametrize("step, share", [(1, 0.97), (2, 0.95), (3, 0.9)])
def test_most_outliers_are_dropped_in_fast_dances(step, share):
    random, found = np.random.default_rng(0), []
    for seed in range(20, 26):
        moments = range(0, 90 * step, step)
        clip = puppet_clip(Identity.from_seed(seed, "test"), Choreography.from_seed(seed, "test"), moments)
        points = frames_to_points(clip)
        broken, outliers = points.copy(), []
        for frame in range(4, 86, 6):
            joint, angle, length = random.integers(18), random.uniform(0, 2 * np.pi), random.uniform(80, 240)
            if points[frame, joint, 2] > 0:
                broken[frame, joint, :2] += length * np.array([np.cos(angle), np.sin(angle)])
                outliers.append((frame, joint))
        dropped = repair(broken).dropped
        found += [dropped[outlier] for outlier in outliers]
    assert np.mean(found) >= share


def test_a_hard_clip_is_followed(dance):
    """With a passer-by, empty frames, missing hands and jitter, the dancer is followed near the truth."""
    random = np.random.default_rng(0)
    passer = moved(dance[::-1], 500, 0.6)
    passer[25:] = 0
    seen = dance.copy()
    seen[..., :2] += random.normal(0, 1, seen[..., :2].shape) * (seen[..., 2:] > 0)
    seen[[10, 11, 30]] = 0
    seen[random.random(FRAMES) < 0.15, SLICES["right_hand"]] = 0
    result = follow(crowd(seen, passer))
    report, points = result.report, frames_to_points(result.frames)
    assert report["frames"] == report["frames_with_person"] == FRAMES and report["people"] == 2
    assert report["frames_crowded"] == 23 and report["frames_empty"] == 1
    assert all(sum(c.values()) == FRAMES * (SLICES[p].stop - SLICES[p].start) for p, c in report["parts"].items())
    assert report["parts"]["body"] == {"found": 18 * (FRAMES - 3), "filled": 18 * 3, "lost": 0}
    inner = points[2:-2, :130]
    shown = inner[..., 2] > 0
    assert np.linalg.norm(inner[..., :2] - dance[2:-2, :130, :2], axis=-1)[shown].mean() < 2


def test_frames_without_people_are_not_an_error():
    result = follow([PoseFrame((), 1, 1)] * 4)
    assert result.report["frames_empty"] == 4 and not any(f.people for f in result.frames)
    empty = follow([PoseFrame((Person(),), 64, 64)] * 2)
    assert empty.report["frames_with_person"] == 0
    for frames, message in (([], "no frames"), ([PoseFrame((), 1, 1)], "0 or more")):
        with pytest.raises(InputError, match=message):
            follow(frames, max_gap=-1 if frames else 1)


def test_frames_of_several_sizes_or_people_are_refused(dance):
    frames = points_to_frames(dance[:2], 512, 512)
    with pytest.raises(InputError, match="canvas of another size"):
        frames_to_points([frames[0], replace(frames[1], width=9)])
    with pytest.raises(InputError, match="choose one person"):
        frames_to_points(crowd(dance[:1], moved(dance[:1], 300)))
