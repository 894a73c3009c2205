"""The figures of a detector on clips with maps, on drawn clips whose truth is known."""

import numpy as np
import pytest

from benchmarks.detection import drawn_hands, find_clips, fit_axes, measure, summarise
from magicdance_core.errors import InputError
from magicdance_core.pose.draw import draw_pose
from magicdance_core.pose.keypoints import Person
from magicdance_core.puppets import Choreography, Identity, puppet_clip

FRAMES = 6


@pytest.fixture(scope="module")
def dance():
    return puppet_clip(Identity.from_seed(3), Choreography.from_seed(1), range(0, 60, 10))


@pytest.fixture(scope="module")
def maps(dance):
    return [draw_pose(frame, face=False) for frame in dance]


class Known:
    """Returns the truth on a canvas that the maps were scaled and moved from, wrists moved by some pixels more."""

    def __init__(self, dance, off=0.0, without=()):
        self.dance, self.off, self.without = dance, off, without

    def reset(self):
        self.at = 0

    def detect(self, picture):
        self.at += 1
        (person,) = self.dance[self.at - 1].people
        parts = {}
        for part in ("body", "left_hand", "right_hand", "face"):
            points = getattr(person, part).copy()
            shown = points[:, 2] > 0
            points[shown, :2] = points[shown, :2] * (0.9, 0.95) + (20, 10)
            parts[part] = np.zeros_like(points) if part in self.without else points
        parts["body"][[4, 7], 0] += self.off
        return (Person(**parts),)


def test_factor_and_offset_of_maps_are_found_with_wrong_points_among_them(dance):
    truth = np.stack([frame.people[0].body for frame in dance])
    moved = truth * (0.9, 0.95, 1) + (20, 10, 0)
    moved[0, 4, :2] = 3, 400
    factors, offsets = fit_axes(truth, moved)
    assert factors == pytest.approx([0.9, 0.95], abs=1e-4) and offsets == pytest.approx([20, 10], abs=0.05)


def test_distances_are_those_of_the_points(dance):
    bare = [draw_pose(frame, face=False, hands=False) for frame in dance]  # hands cover the discs of wrists
    clip = measure(bare, bare, Known(dance, off=10))
    figures = summarise([clip])
    expected = 100 * 10 / clip.height
    for side in ("right", "left"):
        assert figures[f"{side} wrist"]["median"] == pytest.approx(expected, rel=0.15)
    assert figures["nose"]["median"] < 0.3 and figures["shoulders"]["shown"] == 100
    assert figures["speed"]["frames"] == FRAMES and figures["faces"]["found"] == 100


def test_hands_are_counted_where_the_map_shows_them(dance, maps):
    assert set(drawn_hands(maps[0], dance[0].people[0].body, 80)) <= {"left_hand", "right_hand"}
    whole = summarise([measure(maps, maps, Known(dance))])["hands"]
    half = summarise([measure(maps, maps, Known(dance, without=("left_hand",)))])["hands"]
    assert whole["found"] == 100 and whole["median"] < 1.5 and 20 < half["found"] < 80
    bare = [draw_pose(frame, face=False, hands=False) for frame in dance]
    assert not any(drawn_hands(picture, frame.people[0].body, 80) for picture, frame in zip(bare, dance))


def test_joints_that_are_never_found_have_no_distance(dance, maps):
    class WithoutAnkles(Known):
        def detect(self, picture):
            (person,) = super().detect(picture)
            person.body[[10, 13]] = 0
            return (person,)

    ankle = summarise([measure(maps, maps, WithoutAnkles(dance))])["right ankle"]
    assert np.isnan(ankle["median"]) and ankle["shown"] == 0


def test_faces_that_are_not_found_are_counted(dance, maps):
    assert summarise([measure(maps, maps, Known(dance, without=("face",)))])["faces"]["found"] == 0


def test_maps_of_another_length_are_refused(dance, maps):
    with pytest.raises(InputError, match="6 frames and its maps have 5"):
        measure(maps, maps[:5], Known(dance))


def test_clips_are_found_beside_their_maps(tmp_path):
    with pytest.raises(InputError, match="has no video NAME.mp4 with its maps NAME_poses.mp4"):
        find_clips(tmp_path)
    for name in ("a.mp4", "a_poses.mp4", "b_poses.mp4", "c.mp4"):
        (tmp_path / name).touch()
    assert find_clips(tmp_path) == {"a": (tmp_path / "a.mp4", tmp_path / "a_poses.mp4")}
