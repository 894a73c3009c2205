"""Pose maps against the published drawing, and POSE_KEYPOINT."""

import json

import numpy as np
import pytest

from magicdance_core.pose import (
    Person,
    PoseFrame,
    draw_pose,
    draw_pose_strokes,
    frames_from_pose_keypoint,
    frames_to_pose_keypoint,
)

SIDE = 604


def part(count, **points):
    """Keypoints of a part, `p3=(x, y)` being its third point."""
    array = np.zeros((count, 3), np.float32)
    for name, (x, y) in points.items():
        array[int(name[1:])] = (x, y, 1)
    return array


def frame(width=SIDE, height=SIDE, **parts):
    return PoseFrame((Person(**parts),), width, height)


def box(mask):
    """Left, top, right, bottom of the set pixels."""
    rows, columns = np.nonzero(mask)
    return columns.min(), rows.min(), columns.max(), rows.max()


def is_colour(image, colour):
    return (image == colour).all(axis=-1)


def test_limbs_are_dimmed_and_joints_are_not():
    image = draw_pose(frame(body=part(18, p2=(200, 300), p3=(300, 300))))
    limb = is_colour(image, (153, 102, 0))  # the third limb, 0.6 x (255, 170, 0)
    assert limb.sum() + is_colour(image, (255, 170, 0)).sum() + is_colour(image, (255, 255, 0)).sum() == (
        image.any(axis=-1).sum()
    )
    assert limb[:, 250].nonzero()[0].tolist() == list(range(296, 305))  # half-width 4 about the middle
    assert is_colour(image, (255, 170, 0)).sum() == is_colour(image, (255, 255, 0)).sum() == 49
    assert box(is_colour(image, (255, 170, 0))) == (196, 296, 204, 304)


def test_limb_is_an_ellipse_over_both_ends():
    image = draw_pose(frame(body=part(18, p2=(200, 300), p3=(300, 300))))
    left, top, right, bottom = box(image.any(axis=-1))
    assert (left, right) == (196, 304) and (top, bottom) == (296, 304)
    assert is_colour(image, (153, 102, 0))[:, 210].sum() < is_colour(image, (153, 102, 0))[:, 250].sum()


@pytest.mark.parametrize(
    "limb, start, end, colour",
    [
        (0, 1, 2, (153, 0, 0)),
        (1, 1, 5, (153, 51, 0)),
        (6, 1, 8, (0, 153, 0)),
        (9, 1, 11, (0, 153, 153)),
        (12, 1, 0, (0, 0, 153)),
        (16, 15, 17, (153, 0, 102)),
    ],
)
def test_limb_colours(limb, start, end, colour):
    image = draw_pose(frame(body=part(18, **{f"p{start}": (200, 300), f"p{end}": (300, 300)})))
    assert tuple(image[300, 250]) == colour


def test_ear_to_shoulder_is_not_drawn():
    image = draw_pose(frame(body=part(18, p2=(200, 300), p16=(300, 300))))
    assert not image[300, 250].any()


def test_limbs_of_missing_points_are_not_drawn():
    image = draw_pose(frame(body=part(18, p2=(200, 300))))
    assert image.any(axis=-1).sum() == 49


def test_later_limbs_lie_over_earlier_ones_and_joints_over_all_limbs_of_all_people():
    first = Person(body=part(18, p2=(300, 300)))
    second = Person(body=part(18, p3=(200, 300), p4=(400, 300)))
    image = draw_pose(PoseFrame((first, second), SIDE, SIDE))
    assert tuple(image[300, 300]) == (255, 170, 0)
    assert tuple(image[300, 350]) == (153, 153, 0)


def test_hand_lines_are_hue_wheel_and_points_blue():
    image = draw_pose(frame(left_hand=part(21, p0=(100, 100), p1=(200, 100), p5=(100, 200))))
    assert tuple(image[100, 150]) == (255, 0, 0)
    assert tuple(image[150, 100]) == (204, 255, 0)  # the fifth edge: hue 4 / 20
    assert is_colour(image, (0, 0, 255)).sum() == 3 * 49
    assert image[:, 150].any(axis=-1).sum() in (2, 3)


def test_a_hand_point_in_the_first_row_or_column_is_dropped_as_published():
    image = draw_pose(frame(right_hand=part(21, p0=(0.5, 100), p1=(100, 0.9), p2=(100, 100))))
    assert image.any(axis=-1).sum() == 49


def test_face_is_white_dots_without_lines():
    image = draw_pose(frame(face=part(70, p0=(100, 100), p1=(200, 100), p69=(300, 300))))
    dots = is_colour(image, (255, 255, 255))
    assert dots.sum() == image.any(axis=-1).sum() and dots.sum() % 3 == 0
    assert box(dots[:, :150]) == (97, 97, 103, 103)


def test_order_is_body_hands_face():
    everything = {
        "body": part(18, p0=(300, 300)),
        "left_hand": part(21, p0=(300, 300)),
        "face": part(70, p0=(300, 300)),
    }
    full = frame(**everything)
    assert tuple(draw_pose(full)[300, 300]) == (255, 255, 255)
    assert tuple(draw_pose(full, face=False)[300, 300]) == (0, 0, 255)
    assert tuple(draw_pose(full, face=False, hands=False)[300, 300]) == (255, 0, 0)
    assert not draw_pose(full, face=False, hands=False, body=False).any()
    later = Person(body=part(18, p0=(300, 300)))
    assert tuple(draw_pose(PoseFrame((*full.people, later), SIDE, SIDE))[300, 300]) == (255, 255, 255)


def test_no_resampling_at_604():
    tall = frame(SIDE, 1080, body=part(18, p2=(200.7, 300.2), p3=(301.9, 700)), face=part(70, p3=(50, 60)))
    assert np.array_equal(draw_pose(tall), draw_pose_strokes(tall))
    assert np.array_equal(draw_pose(tall.scaled(302, 540), SIDE, 1080), draw_pose_strokes(tall))
    assert set(np.unique(draw_pose(tall))) <= {0, 102, 153, 170, 255}


@pytest.mark.parametrize("side", [64, 128, 151, 302, 512])
def test_smaller_maps_are_area_averages(side):
    points = frame(side, side, body=part(18, p2=(side * 0.3, side * 0.5), p3=(side * 0.7, side * 0.5)))
    small, full = draw_pose(points), draw_pose(points, SIDE, SIDE)
    assert small.shape == (side, side, 3) and small.dtype == np.uint8
    assert small.mean() == pytest.approx(full.mean(), abs=0.5)
    if SIDE % side == 0:
        block = SIDE // side
        means = full.reshape(side, block, side, block, 3).mean(axis=(1, 3))
        assert np.abs(small - means).max() <= 1


def test_larger_maps_have_wider_strokes():
    image = draw_pose(frame(body=part(18, p2=(200, 300))), 2 * SIDE, 2 * SIDE)
    left, top, right, bottom = box(image.any(axis=-1))
    assert (right - left, bottom - top) == (16, 16)


def test_empty_frame_is_black_and_bad_sizes_are_refused():
    assert not draw_pose(PoseFrame((), 96, 64)).any()
    assert draw_pose(PoseFrame((), 96, 64)).shape == (64, 96, 3)
    assert draw_pose(PoseFrame((), 96, 64), 32, 48).shape == (48, 32, 3)
    with pytest.raises(ValueError, match="positive"):
        draw_pose(PoseFrame((), 96, 64), 0, 5)
    with pytest.raises(ValueError, match="positive"):
        PoseFrame((), 0, 5)


def test_person_refuses_parts_of_wrong_shape():
    with pytest.raises(ValueError, match=r"Person.face has shape \[68, 3\]"):
        Person(face=np.zeros((68, 3)))
    with pytest.raises(ValueError, match="not finite"):
        Person(body=np.full((18, 3), np.nan))


def test_json_round_trip():
    random = np.random.default_rng(0)
    person = Person(
        body=np.c_[random.uniform(5, 90, (18, 2)), np.ones(18)],
        face=np.c_[random.uniform(5, 90, (70, 2)), np.full(70, 0.5)],
    )
    data = json.loads(json.dumps(frames_to_pose_keypoint([PoseFrame((person,), 96, 128), PoseFrame((), 5, 6)])))
    assert data[0]["people"][0]["hand_left_keypoints_2d"] == [0.0] * 63  # None would stop ComfyUI's own nodes
    first, second = frames_from_pose_keypoint(data)
    assert (first.width, first.height, second.people, second.width) == (96, 128, (), 5)
    assert np.array_equal(first.people[0].body, person.body) and np.array_equal(first.people[0].face, person.face)
    assert not first.people[0].left_hand.any()


def test_units_are_detected_for_each_part():
    body, face = [0.5, 1.02, 1.0] + [0.0] * 51, [48.0, 64.0, 1.0] * 68
    entry = {
        "canvas_width": 96,
        "canvas_height": 128,
        "people": [{"pose_keypoints_2d": body, "face_keypoints_2d": face}],
    }
    person = frames_from_pose_keypoint(entry)[0].people[0]
    assert person.body[0] == pytest.approx([48, 130.56, 1]) and not person.body[1:].any()
    assert person.face[0].tolist() == [48, 64, 1] and not person.face[68:].any()


@pytest.mark.parametrize(
    "data, message",
    [
        ("people", "keypoints are str"),
        ([3], "Frame 0 .* is int"),
        ({"people": []}, r"does not contain the size of its picture \(canvas_width"),
        ({"people": [], "canvas_width": "wide", "canvas_height": 4}, "not a number"),
        ({"people": [3], "canvas_width": 4, "canvas_height": 4}, "list of dicts"),
        ({"people": [{"pose_keypoints_2d": [1, 2]}], "canvas_width": 4, "canvas_height": 4}, "flat list"),
        ({"people": [{"pose_keypoints_2d": 5}], "canvas_width": 4, "canvas_height": 4}, "flat list"),
        ({"people": [{"pose_keypoints_2d": [1, 2, 1]}], "canvas_width": 4, "canvas_height": 4}, "has 1 points"),
        ({"people": [], "canvas_width": 0, "canvas_height": 4}, "positive"),
    ],
)
def test_wrong_json_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        frames_from_pose_keypoint(data)
