"""Crops around faces: steady, never cutting the head, and none where there is no face to see."""

from dataclasses import replace

import numpy as np
import pytest

from magicdance_core.pose import Person, PoseFrame
from magicdance_core.pose.face_crops import MAX_GAP, MIN_FACE, Crop, crop_keypoints, face_crop, face_tracks, same_person
from magicdance_core.puppets import Choreography, Identity, puppet_clip, puppet_keypoints
from magicdance_core.puppets.body_pose import BodyPose


@pytest.fixture(scope="module")
def clip():
    return puppet_clip(Identity.from_seed(3, "test"), Choreography.from_seed(3, "test"), range(0, 60, 2), 256)


def jittered(frames, pixels=2.0):
    rng = np.random.default_rng(0)
    moved = []
    for frame in frames:
        (person,) = frame.people
        face = person.face + np.array([*rng.normal(0, pixels, 2), 0], np.float32)
        moved.append(replace(frame, people=(replace(person, face=face),)))
    return moved


def test_crop_has_the_scale_law_and_leaves_room_for_hair(clip):
    person = clip[0].people[0]
    crop = face_crop(person)
    low, high = person.face[:, :2].min(0), person.face[:, :2].max(0)
    assert crop.side == pytest.approx(2 * (high - low).max())
    above, below = low[1] - crop.top, crop.top + crop.side - high[1]
    assert above > below > 0
    assert crop.left + crop.side / 2 == pytest.approx((low[0] + high[0]) / 2, abs=1e-3)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda p: replace(p, face=np.zeros((70, 3))),
        lambda p: replace(p, face=p.face * np.repeat([[1], [0]], [30, 40], 0)),  # less than half of it
        lambda p: replace(p, body=p.body * np.isin(np.arange(18), [0, 14, 15], invert=True)[:, None]),  # the back
        lambda p: replace(p, face=p.face * (0.02, 0.02, 1)),  # smaller than a latent
    ],
)
def test_a_face_that_is_not_shown_has_no_crop(clip, hidden):
    assert face_crop(hidden(clip[0].people[0])) is None


def test_tracks_are_steadier_than_the_face_and_contain_the_head(clip):
    (track,) = face_tracks(jittered(clip))
    assert track.frames == tuple(range(len(clip)))
    raw = [face_crop(frame.people[0]) for frame in jittered(clip)]

    def shake(crops):
        return np.abs(np.diff([(c.left + c.side / 2, c.top + c.side / 2) for c in crops], n=2, axis=0)).mean()

    assert shake(track.crops) < shake(raw) / 3
    for crop, frame in zip(track.crops, clip):
        face = frame.people[0].face[:, :2]
        assert (face > (crop.left, crop.top)).all() and (face < (crop.left + crop.side, crop.top + crop.side)).all()


def test_long_gaps_part_tracks_and_short_ones_do_not(clip):
    def without(frames):
        return [replace(f, people=()) if n in frames else f for n, f in enumerate(clip)]

    (track,) = face_tracks(without(range(5, 5 + MAX_GAP)))
    assert set(track.frames) == set(range(30)) - set(range(5, 5 + MAX_GAP))
    first, second = face_tracks(without(range(5, 6 + MAX_GAP)))
    assert first.person == second.person
    assert (first.frames[-1], second.frames[0]) == (4, 6 + MAX_GAP)
    assert face_tracks(without(range(30))) == []


def test_people_are_told_apart_and_find_themselves_in_the_reference(clip):
    def pair(frame, swapped=False):
        (left,) = frame.people
        right = replace(left, **{n: getattr(left, n) + np.float32([256, 0, 0]) for n in ("body", "face")}, identity=7)
        left = replace(left, identity=3)
        people = (right, left) if swapped else (left, right)
        return PoseFrame(people, 512, 256)

    tracks = face_tracks([pair(frame) for frame in clip])
    assert [track.person for track in tracks] == [(3, 0), (7, 0)]
    reference = pair(clip[9], swapped=True)
    owners = [same_person(track, pair(clip[0]), reference) for track in tracks]
    assert [owner.identity for owner in owners] == [track.person[0] for track in tracks]
    nobody = PoseFrame((), 64, 64)
    assert same_person(tracks[0], pair(clip[0]), nobody) is None


def test_keypoints_of_a_crop_are_where_a_larger_drawing_has_them():
    identity, pose = Identity.from_seed(1, "test"), BodyPose(mouth_open=0.6)
    crop = Crop(100.0, 20.0, 64.0)
    cropped = crop_keypoints(puppet_keypoints(identity, pose, 256), crop.box, 128, 128).people[0]
    larger = puppet_keypoints(identity, pose, 512).people[0]
    for part in ("body", "face", "left_hand"):
        assert np.allclose(getattr(cropped, part)[:, :2], getattr(larger, part)[:, :2] - (200, 40), atol=1e-2)
    assert crop_keypoints(PoseFrame((Person(),), 64, 64), crop.box, 8, 8).people[0].body.any() == np.False_


def test_smallest_face_is_measured_in_the_frame(clip):
    frame = clip[0]
    side = face_crop(frame.people[0]).side / 2
    large, small = (frame.scaled(n, n) for n in (int(256 * MIN_FACE / side) + 2, int(256 * MIN_FACE / side) - 2))
    assert face_crop(large.people[0]) and face_crop(small.people[0]) is None
