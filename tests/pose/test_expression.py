"""Expressions as an input: as puppets with that expression have them, plausible, and errors in one sentence."""

from dataclasses import replace

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.pose import Person, PoseFrame
from magicdance_core.pose.expression import LOWER_LIPS, SLIDERS, UPPER_LIPS, edit_expression, still_face
from magicdance_core.puppets import Identity, puppet_keypoints
from magicdance_core.puppets.body_pose import BodyPose

CHANGES = {  # of a puppet's pose, per unit of the slider
    "mouth_open": ("mouth_open",), "smile": ("smile",), "brows": ("brow_raise",), "gaze_x": ("gaze_x",),
    "gaze_y": ("gaze_y",), "head_tilt": ("head_tilt",), "blink": ("right_eye", "left_eye"),
}  # fmt: skip


def posed(seed, **changes):
    return puppet_keypoints(
        Identity.from_seed(seed, "test"), BodyPose(**{"smile": 0.1, "head_yaw": 8.0} | changes), 512
    )


def face(frame):
    return frame.people[0].face[:, :2]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "name, value",
    [("mouth_open", 0.8), ("smile", 0.8), ("smile", -0.8), ("brows", 0.9), ("brows", -0.9), ("blink", 1.0),
     ("gaze_x", -0.8), ("gaze_y", 0.8), ("head_tilt", 15.0), ("head_tilt", -15.0)],
)  # fmt: skip
def test_landmarks_move_as_the_puppets_with_that_expression(seed, name, value):
    before = posed(seed)
    base = BodyPose(smile=0.1)
    change = {field: getattr(base, field) + (-value if name == "blink" else value) for field in CHANGES[name]}
    truth, (edited,) = posed(seed, **change), edit_expression([before], {name: value})
    moved = np.abs(face(truth) - face(before)).mean()
    assert np.abs(face(truth) - face(edited)).mean() < 0.35 * moved
    assert edited.people[0].face[:, 2].tolist() == before.people[0].face[:, 2].tolist()


def test_sliders_add_to_what_was_detected_and_follow_schedules():
    frames = [posed(1, mouth_open=0.3)] * 5
    edited = edit_expression(frames, {"mouth_open": "0: 0, 4: 0.4", "smile": [0, 0, 0, 0, 0]})
    gaps = [face(frame)[66, 1] - face(frame)[62, 1] for frame in edited]
    assert np.array_equal(face(edited[0]), face(frames[0]))
    assert all(later > earlier for earlier, later in zip(gaps, gaps[1:]))
    wanted = face(posed(1, mouth_open=0.7))
    assert gaps[-1] == pytest.approx(wanted[66, 1] - wanted[62, 1], rel=0.05)


@pytest.mark.parametrize("opened", [0.0, 0.2, 0.6])
def test_lips_close_but_do_not_cross(opened):
    for smile in (-1.0, 0.0, 1.0):
        (edited,) = edit_expression([posed(2, mouth_open=opened)], {"mouth_open": -1.0, "smile": smile})
        gaps = (face(edited)[list(LOWER_LIPS)] - face(edited)[list(UPPER_LIPS)])[:, 1]
        assert (gaps[5:] > -0.2).all() and gaps[5:].max() < 1.5 and (gaps[:5] > 0.2).all()


def test_lids_pupils_and_chin_stay_where_they_can_be():
    for blink in (0.5, 1.0):
        points = face(edit_expression([posed(3, right_eye=0.4)], {"blink": blink})[0])
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            assert points[lower, 1] - points[upper, 1] > -0.01
    looking = posed(3, gaze_x=1.0)
    points = face(edit_expression([looking], {"gaze_x": 1.0, "gaze_y": 1.0})[0])
    for pupil, (left, right) in ((68, (36, 39)), (69, (42, 45))):
        assert points[left, 0] < points[pupil, 0] < points[right, 0]
    shouting = face(edit_expression([posed(3, mouth_open=0.9)], {"mouth_open": 1.0})[0])
    assert shouting[8, 1] > shouting[57, 1] + 5


def test_a_turned_head_is_edited_along_its_own_axes():
    straight, turned = (edit_expression([posed(4, head_tilt=t)], {"brows": 1.0})[0] for t in (0.0, 20.0))
    before = [face(posed(4, head_tilt=t)) for t in (0.0, 20.0)]
    rises = [face(frame)[17:27] - old[17:27] for frame, old in zip((straight, turned), before)]
    lengths = [np.linalg.norm(rise, axis=1).mean() for rise in rises]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.05)
    angle = np.degrees(np.arctan2(rises[1][0, 0], -rises[1][0, 1]))
    assert angle == pytest.approx(20, abs=4)


def test_people_without_a_whole_face_and_other_parts_stay():
    (person,) = posed(5).people
    half = replace(person, face=person.face * (np.arange(70) > 20)[:, None])
    frame = PoseFrame((half, Person(), person), 512, 512)
    (edited,) = edit_expression([frame], {"smile": 1.0, "head_tilt": 10})
    assert edited.people[:2] == frame.people[:2] and edited.people[2] is not person
    hidden = replace(person, face=person.face * (np.arange(70) != 60)[:, None])  # a corner of the mouth
    (edited,) = edit_expression([PoseFrame((hidden,), 512, 512)], {"smile": 1.0, "brows": 1.0})
    moved = np.abs(face(edited) - hidden.face[:, :2]).max(axis=1) > 0.01
    assert moved[17:27].all() and not moved[27:].any() and not moved[:17].any()
    (whole,) = edit_expression([posed(5)], {"smile": 1.0})
    assert np.array_equal(whole.people[0].body, person.body)
    assert np.array_equal(whole.people[0].left_hand, person.left_hand)


def test_a_still_face_follows_the_head_and_keeps_its_expression():
    reference = posed(6, mouth_open=0.0)
    dance = [posed(6, mouth_open=0.8, smile=1.0, head_tilt=t, root_x=t / 400) for t in (-15.0, 0.0, 15.0)]
    for moved, still in zip(dance, still_face(dance, reference)):
        assert still.people[0].face[:, 2].all()
        wanted = face(reference) - face(reference)[27:31].mean(0)
        found = face(still) - face(still)[27:31].mean(0)
        sizes = [np.linalg.norm(points, axis=1).mean() for points in (wanted, found)]
        assert sizes[1] == pytest.approx(sizes[0], rel=0.06)
        assert np.linalg.norm(face(still)[27:31].mean(0) - face(moved)[27:31].mean(0)) < 6
        mouth = face(still)[[62, 66]]
        assert np.linalg.norm(mouth[1] - mouth[0]) < 2  # closed, as in the reference
    hidden = replace(dance[0], people=(replace(dance[0].people[0], body=np.zeros((18, 3))),))
    assert not still_face([hidden], reference)[0].people[0].face.any()


def test_bad_input_is_refused_in_a_sentence():
    with pytest.raises(InputError, match="slider 'grin' is unknown: use one of mouth_open, smile"):
        edit_expression([posed(0)], {"grin": 1})
    for name, slider in SLIDERS.items():
        with pytest.raises(InputError, match=f"{name} is {slider.high + 1:.1f}: give"):
            edit_expression([posed(0)], {name: slider.high + 1})
    with pytest.raises(InputError, match="No frame shows the eyes and chin of a face"):
        edit_expression([PoseFrame((Person(),), 64, 64)], {"smile": 0.5})
    assert edit_expression([PoseFrame((), 64, 64)], {"smile": 0.0})[0].people == ()
    with pytest.raises(InputError, match="reference shows no face"):
        still_face([posed(0)], PoseFrame((Person(),), 64, 64))
    (person,) = posed(0).people
    with pytest.raises(InputError, match="less than two of nose, eyes and ears"):
        still_face([posed(0)], PoseFrame((replace(person, body=np.zeros((18, 3))),), 512, 512))
