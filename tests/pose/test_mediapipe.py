"""The rules of the detector `mediapipe`, with networks that answer from a script: which regions are looked at, what
counts as found, and what is made of it."""

import numpy as np
import pytest
import torch

from magicdance_core import cpu
from magicdance_core.pose.detectors.mediapipe import LOOK_EVERY, MOST_PEOPLE, MediaPipeDetector, tiles
from magicdance_core.pose.detectors.mediapipe_body import INDEX, Body, body_region, refine, same_person
from magicdance_core.pose.detectors.mediapipe_face import Face, find_face
from magicdance_core.pose.detectors.mediapipe_hands import Hand, find_hands, without_double
from magicdance_core.pose.detectors.mediapipe_networks import FACE_BOX, PALM, PERSON
from magicdance_core.pose.detectors.mediapipe_person import FACE, hidden_ears, make_person, shown_box
from magicdance_core.pose.detectors.regions import Region
from magicdance_core.pose.detectors.ssd import anchors

WIDTH, HEIGHT = 400, 400
BOX = (0, 0, WIDTH, HEIGHT)
PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

# A standing person, in [0, 1] of its region, whose next region is the same: hips in the middle, circle 0.4 above.
_STANDING = {
    "nose": (0.5, 0.2), "left_eye": (0.52, 0.18), "right_eye": (0.48, 0.18), "left_ear": (0.54, 0.19),
    "right_ear": (0.46, 0.19), "left_shoulder": (0.58, 0.3), "right_shoulder": (0.42, 0.3), "left_elbow": (0.62, 0.4),
    "right_elbow": (0.38, 0.4), "left_wrist": (0.64, 0.5), "right_wrist": (0.36, 0.5), "left_index": (0.645, 0.54),
    "right_index": (0.355, 0.54), "left_little": (0.635, 0.54), "right_little": (0.365, 0.54), "left_hip": (0.55, 0.5),
    "right_hip": (0.45, 0.5),
}  # fmt: skip


def standing():
    points = np.full((39, 5), 9.0)  # visibility and presence are near 1
    points[:, :2] = 0.5, 0.85
    for name, place in _STANDING.items():
        points[INDEX[name], :2] = place
    points[33, :2], points[34, :2] = (0.5, 0.5), (0.5, 0.1)
    points[:, :2] *= 256
    return points


def body_at(region=None, **changes):
    """The standing person in a region of the picture. changes: name=(visibility, presence)."""
    points = np.ones((33, 4))
    region = region or Region(200, 200, 400)
    points[:, :2] = region.to_picture(standing()[:33, :2] / 256)
    for name, values in changes.items():
        points[INDEX[name], 2:] = values
    return Body(points, 0.9, region)


class Script:
    """Networks that answer what they are told, and remember what they were asked.

    people: whether the person network sees somebody, at the given places (in [0, 1] of the region); bodies, hands,
    faces: lists of presences that are used up, the last one again and again. A hand's answer is a hand upwards whose
    wrist is the lower middle of its region; a face fills its region.
    """

    def __init__(self, people=((0.5, 0.5),), bodies=(0.9,), hands=(0.0,), faces=(-9.0,), palms=(), face_boxes=()):
        self.people, self.palms, self.face_boxes = people, palms, face_boxes
        self.script = {"pose": list(bodies), "hand": list(hands), "face": list(faces)}
        self.asked = []

    def __call__(self, name, crop):
        self.asked.append(name)
        if name in self.script:
            script = self.script[name]
            value = script.pop(0) if len(script) > 1 else script[0]
            return getattr(self, f"_{name}")(np.float32([[value]]))
        network, places, keypoints = {
            "person": (PERSON, self.people, 4),
            "palm": (PALM, self.palms, 7),
            "face_box": (FACE_BOX, self.face_boxes, 6),
        }[name]
        at = anchors(network.grids)
        boxes = np.zeros((1, len(at), 4 + 2 * keypoints), np.float32)
        logits = np.full((1, len(at), 1), -9, np.float32)
        for k, (x, y) in enumerate(places):
            row = k * 7
            points = np.tile([x, y], (2 + keypoints, 1)) - at[row]
            points[1] = 0.2  # width and height
            points[3] -= [0, 0.4]  # the keypoint on the circle, or another one above
            points[4] -= [0, 0.1]  # a palm's middle knuckle
            boxes[0, row], logits[0, row] = points.ravel() * network.size, 3 - 0.1 * k
        return [boxes, logits]

    def _pose(self, presence):
        return [standing()[None].astype(np.float32), presence, np.full((1, 64, 64, 39), -9, np.float32)]

    def _hand(self, presence):
        return [hand_points()[None].astype(np.float32) * 224, presence]

    def _face(self, flag):
        mesh = np.zeros((468, 3))
        mesh[:, :2] = np.random.default_rng(0).uniform(48, 144, (468, 2))
        return [mesh, *(np.full(2 * n, 96.0) for n in (80, 71, 71, 5, 5)), flag]


def hand_points():
    """A hand upwards in [0, 1]: wrist below, fingers side by side."""
    points = np.zeros((21, 3))
    points[0, :2] = 0.5, 0.8
    for finger in range(5):
        for joint in range(4):
            points[1 + 4 * finger + joint, :2] = 0.35 + 0.075 * finger, 0.6 - 0.1 * joint
    return points


def detector(script):
    return MediaPipeDetector(run=script)


# Bodies


def test_region_of_a_body_is_upright_and_has_slack():
    assert body_region(np.array([100, 90]), np.array([100, 50])) == Region(100, 90, 100, 0)
    assert body_region(np.array([100, 90]), np.array([140, 90])).angle == pytest.approx(np.pi / 2)


def test_places_move_to_the_mean_of_a_certain_heat_map():
    heat = np.full((64, 64, 3), -20.0)
    heat[10, 20:22, 0] = 20  # between two cells: their indices count, not their centres
    heat[10, 20, 1] = -0.1  # below a half
    heat[10, 27, 2] = 20  # beyond the window
    places = np.full((3, 2), (22.9 / 64, 10.0 / 64))
    assert refine(places, heat) == pytest.approx(np.array([[20.5 / 64, 10 / 64], places[1], places[2]]), abs=1e-6)
    outside = np.full((3, 2), (1.2, -0.1))
    assert np.array_equal(refine(outside, heat), outside)


def test_bodies_near_each_other_are_one_person():
    one = body_at()
    size = 120  # from the nose to the hips
    assert same_person(one, body_at(Region(200 + 0.34 * size, 200, 400)))
    assert not same_person(one, body_at(Region(200 + 0.36 * size, 200, 400)))


# Hands


def test_a_hand_of_the_last_picture_is_followed_without_looking_for_its_palm():
    body, script = body_at(), Script(hands=[0.9])
    last = Hand(Region(256, 210, 60).to_picture(hand_points()[:, :2]), 0.8)
    found = find_hands(script, PICTURE, body, {"left": last, "right": None})
    assert found["left"].presence == pytest.approx(0.9) and script.asked[0] == "hand"
    script = Script(hands=[0.9])
    find_hands(script, PICTURE, body, {"left": Hand(last.points, 0.4), "right": None})
    assert script.asked[0] == "palm"


def test_a_hand_without_a_palm_is_expected_at_the_wrist_and_looked_at_twice():
    script = Script(hands=[0.9, 0.95, 0.3, 0.2])
    found = find_hands(script, PICTURE, body_at(), {})
    assert script.asked == ["palm", "hand", "hand"] * 2
    assert found["left"].presence == pytest.approx(0.95)  # the second look is not worse
    assert found["right"].presence == pytest.approx(0.3)  # here it is, so the first answer stays


def test_an_uncertain_hand_is_missing():
    found = find_hands(Script(hands=[0.25]), PICTURE, body_at(), {})
    assert found == {"left": None, "right": None}


def test_no_hand_is_looked_for_at_a_wrist_that_is_hidden_or_outside():
    script = Script(hands=[0.9])
    body = body_at(left_wrist=(0.09, 1))
    body.points[INDEX["right_wrist"], :2] = -1, 50
    assert find_hands(script, PICTURE, body, {}) == {"left": None, "right": None} and script.asked == []


def test_a_hand_far_from_its_wrist_does_not_count():
    far = Hand(Region(100, 100, 60).to_picture(hand_points()[:, :2]), 0.9)
    found = find_hands(Script(hands=[0.9, 0.1]), PICTURE, body_at(right_wrist=(0, 1)), {"left": far, "right": None})
    assert found["left"] is None


def test_one_hand_is_not_both():
    points = 50 * hand_points()[:, :2]
    left, right = Hand(points, 0.6), Hand(points + 3, 0.7)
    assert without_double({"left": left, "right": right}) == {"left": None, "right": right}
    apart = Hand(points + 20, 0.7)
    assert without_double({"left": left, "right": apart}) == {"left": left, "right": apart}


# Faces


def test_a_face_is_looked_for_where_it_was_then_by_its_box_then_where_the_head_is():
    last = Face(np.random.default_rng(1).uniform(180, 220, (478, 2)), 0.9)
    script = Script(faces=[9.0])
    assert find_face(script, PICTURE, body_at(), last, new=False) and script.asked == ["face"]
    script = Script(faces=[-9.0, 9.0], face_boxes=[(0.5, 0.5)])
    assert find_face(script, PICTURE, body_at(), last, new=False) and script.asked == ["face", "face_box", "face"]
    script = Script(faces=[-9.0, 9.0])
    assert find_face(script, PICTURE, body_at(), last, new=False) and script.asked == ["face", "face_box", "face"]
    script = Script(faces=[-9.0])
    assert find_face(script, PICTURE, body_at(), last, new=False) is None
    assert script.asked == ["face", "face_box", "face"]


def test_the_face_of_a_new_person_is_looked_at_twice():
    script = Script(faces=[9.0, 8.0])
    assert find_face(script, PICTURE, body_at(), None, new=True).score == pytest.approx(1 / (1 + np.exp(-8)))
    script = Script(faces=[9.0, -8.0])
    assert find_face(script, PICTURE, body_at(), None, new=True).score == pytest.approx(1 / (1 + np.exp(-9)))


# The person


def face_at(nose=0.5, score=0.9):
    """A face whose nose tip is at a share of the way from the right ear to the left one."""
    points = np.full((478, 2), (200.0, 80.0))
    points[234], points[454], points[4] = (180, 80), (220, 80), (180 + 40 * nose, 90)
    points[468], points[473] = (191, 79), (209, 79)
    return Face(points, score)


def test_points_get_openposes_places_and_the_lower_confidence():
    body = body_at(left_elbow=(0.9, 0.4), right_elbow=(0.2, 0.9))
    person = make_person(body, {"left": Hand(hand_points()[:, :2] * 100, 0.6), "right": None}, face_at(), BOX)
    right, left = body.place("right_shoulder"), body.place("left_shoulder")
    assert person.body[2] == pytest.approx([*right, 1]) and person.body[5] == pytest.approx([*left, 1])
    assert person.body[1] == pytest.approx([*(right + left) / 2, 1])
    assert person.body[6, 2] == pytest.approx(0.4) and not person.body[3].any()  # 0.2 is not above the threshold
    assert person.body[14, :2] == pytest.approx(body.place("right_eye"))
    assert person.left_hand[0] == pytest.approx([50, 80, 0.6]) and not person.right_hand.any()
    assert person.face[68] == pytest.approx([191, 79, 0.9]) and person.face[69] == pytest.approx([209, 79, 0.9])
    assert person.face[30, :2] == pytest.approx([200, 90]) and not person.feet.any() and len(FACE) == 70


def test_without_a_shoulder_there_is_no_neck():
    assert not make_person(body_at(left_shoulder=(0.1, 1)), {}, face_at(), BOX).body[1].any()


def test_without_a_face_nose_and_eyes_are_missing_and_ears_stay():
    person = make_person(body_at(), {}, None, BOX)
    assert not person.body[[0, 14, 15]].any() and person.body[[16, 17], 2].all() and not person.face.any()


def test_the_ear_behind_a_turned_head_is_missing():
    assert [hidden_ears(face_at(nose)) for nose in (0.29, 0.31, 0.69, 0.71)] == [[16], [], [], [17]]
    assert not make_person(body_at(), {}, face_at(0.1), BOX).body[16].any()


def test_points_outside_the_picture_are_missing():
    hand = Hand(hand_points()[:, :2] * 600, 0.9)  # its wrist is at 480, the thumb's tip at 180
    person = make_person(body_at(Region(200, 300, 400)), {"left": hand}, None, BOX)
    assert not person.body[10].any()  # the ankle is at 440
    assert not person.left_hand[0].any() and person.left_hand[4, 2] == pytest.approx(0.9)


def test_points_on_black_bars_are_missing():
    picture = np.full((HEIGHT, WIDTH, 3), 12, np.uint8)
    picture[40:300, 30:390, 1] = 90
    assert shown_box(picture) == (30, 40, 390, 300) and shown_box(PICTURE) == BOX
    person = make_person(body_at(), {}, face_at(), shown_box(picture))
    assert not person.body[[9, 10, 12, 13]].any() and person.body[8, 2]  # knees and ankles are at 340


# Following


def test_a_new_person_is_looked_at_twice_and_a_followed_one_once():
    script = Script()
    found = detector(script)
    assert len(found.detect(PICTURE)) == 1
    assert script.asked.count("person") == 1 and script.asked.count("pose") == 2
    script.asked.clear()
    assert len(found.detect(PICTURE)) == 1
    assert script.asked.count("person") == 0 and script.asked.count("pose") == 1


def test_a_second_look_that_fails_leaves_the_first():
    assert len(detector(Script(bodies=[0.9, 0.1])).detect(PICTURE)) == 1


def test_a_lost_person_is_searched_again_at_once():
    script = Script(bodies=[0.9, 0.9, 0.4, 0.8])
    found = detector(script)
    found.detect(PICTURE)
    script.asked.clear()
    assert len(found.detect(PICTURE)) == 1 and script.asked[:3] == ["pose", "person", "pose"]


def test_nobody_is_nobody():
    assert detector(Script(people=())).detect(PICTURE) == ()
    assert detector(Script(bodies=[0.5])).detect(PICTURE) == ()


def test_newcomers_are_found_at_every_tenth_picture():
    script = Script(people=((0.25, 0.5),))
    found = detector(script)
    found.detect(PICTURE)
    script.people = ((0.25, 0.5), (0.75, 0.5))
    counts = [len(found.detect(PICTURE)) for _ in range(LOOK_EVERY)]
    assert counts == [1] * (LOOK_EVERY - 1) + [2]


def test_tiles_are_searched_if_nobody_is_found_and_need_a_higher_score():
    class InTiles(Script):
        logit = 3.0

        def __call__(self, name, crop):
            boxes_and_logits = super().__call__(name, crop)
            if name == "person":
                first = self.asked.count("person") == 1
                boxes_and_logits[1][0, 0] = -9 if first else self.logit
            return boxes_and_logits

    script = InTiles()
    assert len(detector(script).detect(PICTURE)) >= 1 and script.asked.count("person") == 5
    script = InTiles()
    script.logit = 0.7  # a score of 0.67
    assert detector(script).detect(PICTURE) == ()
    script = InTiles()
    assert detector(script).detect(PICTURE[:200, :200]) == () and script.asked.count("person") == 1


def test_tiles_reach_all_borders():
    assert tiles(400, 400) == [Region(x, y, 240) for y in (120, 280) for x in (120, 280)]
    assert [(tile.x, tile.y) for tile in tiles(512, 896)] == [(256, pytest.approx(y)) for y in (268.8, 627.2)]


def test_at_most_sixteen_people_are_kept():
    crowd = [(0.1 + 0.2 * (k % 5), 0.1 + 0.25 * (k // 5)) for k in range(20)]

    class Small(Script):
        def __call__(self, name, crop):
            outputs = super().__call__(name, crop)
            if name == "person":
                rows = outputs[0][0, : 7 * len(self.people) : 7].reshape(-1, 6, 2)
                rows[:, 1], rows[:, 3] = 0.01 * 224, rows[:, 2] - [0, 0.04 * 224]
                outputs[0][0, : 7 * len(self.people) : 7] = rows.reshape(len(rows), -1)
            return outputs

    assert len(detector(Small(people=crowd)).detect(PICTURE)) == MOST_PEOPLE == 16


def test_another_size_or_a_reset_begins_anew():
    script = Script()
    found = detector(script)
    found.detect(PICTURE)
    found.detect(PICTURE[:300])
    assert script.asked.count("person") == 2
    found.reset()
    found.detect(PICTURE[:300])
    assert script.asked.count("person") == 3


def test_small_networks_run_on_one_thread_and_leave_the_users_number(monkeypatch):
    for name in cpu.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    seen = []

    class Counting(Script):
        def __call__(self, name, crop):
            seen.append(torch.get_num_threads())
            return super().__call__(name, crop)

    before = torch.get_num_threads()
    with cpu.threads(3):
        monkeypatch.setattr(cpu, "THREADS_AT_IMPORT", 3)
        detector(Counting()).detect(PICTURE)
        assert set(seen) == {1} and torch.get_num_threads() == 3
    assert torch.get_num_threads() == before
