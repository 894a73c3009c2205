"""Puppets are deterministic, varied, within their joint limits, and match their keypoints."""

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magicdance_core.puppets import (
    BodyPose,
    Choreography,
    Identity,
    draw_puppet,
    draw_puppets,
    puppet_keypoints,
    puppet_mask,
)
from magicdance_core.puppets import identity as styles
from magicdance_core.puppets.body_pose import FIELDS, HIGHEST, LOWEST

ROOT = Path(__file__).parents[2]
IDENTITIES = [Identity.from_seed(seed) for seed in range(400)]


def fingerprint():
    picture = draw_puppet(Identity.from_seed(5, "test"), Choreography.from_seed(7, "test").pose(101), 64)
    return hashlib.sha256(picture.tobytes()).hexdigest()


def plain(**changes):
    """Return an identity whose face is not hidden."""
    return replace(
        IDENTITIES[0], glasses="none", hat="none", hair_style="short", fringe="high", beard="none", **changes
    )


def points_of(identity, pose, width, height=None):
    person = puppet_keypoints(identity, pose, width, height).people[0]
    return np.concatenate([person.body, person.right_hand, person.left_hand, person.face])


def colour_at(picture, point):
    return picture.getpixel((int(point[0]), int(point[1])))


def test_pictures_are_the_same_in_every_process():
    code = "import sys; sys.path[:0] = sys.argv[1:]; from test_puppets import fingerprint; print(fingerprint())"
    command = [sys.executable, "-c", code, str(ROOT), str(Path(__file__).parent)]
    for hash_seed in ("1", "2"):
        out = subprocess.run(command, env={"PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True)
        assert out.stdout.strip() == fingerprint()


def test_splits_and_seeds_differ():
    for cls in (Identity, Choreography):
        trained = {replace(cls.from_seed(seed), seed=0, split="") for seed in range(200)}
        held_out = {replace(cls.from_seed(seed, "test"), seed=0, split="") for seed in range(200)}
        assert len(trained) == len(held_out) == 200 and not trained & held_out
    assert Choreography.from_seed(3).pose(40) != Choreography.from_seed(3, "test").pose(40)


@pytest.mark.parametrize("cls", [Identity, Choreography])
@pytest.mark.parametrize("seed, split", [(1, "validation"), (1.5, "train"), (True, "train"), ("1", "train")])
def test_bad_seeds_are_refused(cls, seed, split):
    with pytest.raises(ValueError, match=": give"):
        cls.from_seed(seed, split)


@pytest.mark.parametrize(
    "field, names",
    [
        ("hair_style", styles.HAIR_STYLES),
        ("fringe", styles.FRINGES),
        ("hat", ("none", *styles.HATS)),
        ("glasses", styles.GLASSES),
        ("beard", styles.BEARDS),
        ("nose", styles.NOSES),
        ("jaw", styles.JAWS),
        ("top", styles.TOPS),
        ("pattern", styles.PATTERNS),
        ("bottom", styles.BOTTOMS),
        ("background", styles.BACKGROUNDS),
    ],
)
def test_every_style_occurs_and_changes_the_picture(field, names):
    assert {getattr(identity, field) for identity in IDENTITIES} == set(names)
    base = plain(top="t-shirt", bottom="skirt", pattern="plain", background="room", blush=0.0)
    if field == "fringe":
        base = replace(base, hair_style="long")
    pictures = {draw_puppet(replace(base, **{field: name}), BodyPose(), 64).tobytes() for name in names}
    assert len(pictures) == len(names)


def test_scene_is_a_square_in_the_middle_of_any_size():
    identity, pose = IDENTITIES[3], Choreography.from_seed(3).pose(30)
    square = np.asarray(draw_puppet(identity, pose, 64))
    wide = draw_puppet(identity, pose, 96, 64)
    tall = draw_puppet(identity, pose, 64, 80)
    assert wide.size == (96, 64) and tall.size == (64, 80) and wide.mode == "RGB"
    assert np.abs(np.asarray(wide)[:, 16:80].astype(int) - square).mean() < 1
    assert np.allclose(points_of(identity, pose, 96, 64) - points_of(identity, pose, 64), (16, 0, 0), atol=1e-4)
    assert np.allclose(points_of(identity, pose, 128), points_of(identity, pose, 64) * (2, 2, 1), atol=1e-4)
    for draw in (draw_puppet, puppet_keypoints):
        with pytest.raises(ValueError, match="at least 16"):
            draw(identity, pose, 8)


def test_background_does_not_move():
    identity, dance = IDENTITIES[11], Choreography.from_seed(11)
    frames = np.stack([np.asarray(draw_puppet(identity, dance.pose(20 * k), 64)) for k in range(12)])
    still = (frames == frames[0]).all(axis=(0, 3))
    assert still.mean() > 0.4
    assert still[:6, :6].all() and still[:6, -6:].all()


def test_keypoints_are_inside_the_picture():
    for seed in range(40):
        dance = Choreography.from_seed(seed)
        for frame in range(0, 320, 16):
            points = points_of(IDENTITIES[seed], dance.pose(frame), 1024)
            assert (points[:, 2] == 1).all()
            assert points[:, :2].min() >= 0 and points[:, :2].max() < 1024


def test_keypoints_match_the_drawing():
    for seed in range(12):
        identity = plain(skin=(200, 140, 100), lip_colour=(255, 0, 0), lip_fullness=0.09)
        pose = replace(Choreography.from_seed(seed).pose(45), right_eye=1.0, left_eye=1.0, mouth_open=0.0, smile=0.3)
        pose = replace(pose, right_arm=80.0, right_elbow=0.0, left_arm=80.0, left_elbow=0.0)  # nothing before the face
        person = puppet_keypoints(identity, pose, 512).people[0]
        picture = draw_puppet(identity, pose, 512)
        for pupil in person.face[68:]:
            assert colour_at(picture, pupil) == (24, 20, 26)
        for wrist in person.body[[4, 7]]:
            assert colour_at(picture, wrist) == identity.skin
        for k in (5, 9):
            assert colour_at(picture, person.right_hand[k]) == identity.skin
        red, green, _ = colour_at(picture, (person.face[66] + person.face[57]) / 2)
        assert red > 200 and green < 60


def test_hands_start_at_wrists_and_faces_are_connected():
    person = puppet_keypoints(IDENTITIES[2], Choreography.from_seed(2).pose(77), 256).people[0]
    assert np.allclose(person.right_hand[0], person.body[4]) and np.allclose(person.left_hand[0], person.body[7])
    assert np.allclose(person.face[30], person.body[0])
    assert np.allclose((person.body[2] + person.body[5]) / 2, person.body[1], atol=1e-3)
    # The person's right is the picture's left.
    assert person.body[2, 0] < person.body[5, 0] and person.body[14, 0] < person.body[15, 0]
    assert (np.diff(person.face[17:27, 0]) > 0).all() and (np.diff(person.face[:17, 0]) > 0).all()


@pytest.mark.parametrize(
    "change, moved, still",
    [
        ({"mouth_open": 1.0}, [57, 66], [37, 19, 68]),
        ({"smile": 1.0}, [48, 54], [19, 30]),
        ({"mouth_width": 1.0}, [48, 54], [37, 30]),
        ({"brow_raise": 1.0}, list(range(17, 27)), [37, 48, 68]),
        ({"brow_frown": 1.0}, [21, 22], [37, 48, 68]),
        ({"right_eye": 0.0}, [37, 38, 40, 41], [43, 44, 46, 47, 68]),
        ({"gaze_x": 1.0}, [68, 69], [37, 43]),
        ({"head_yaw": 25.0}, [30, 36, 45, 48, 68], []),
        ({"head_nod": 15.0}, [30, 36, 45, 48, 68], []),
    ],
)
def test_expressions_move_their_landmarks(change, moved, still):
    before = puppet_keypoints(IDENTITIES[1], BodyPose(), 512).people[0].face
    after = puppet_keypoints(IDENTITIES[1], replace(BodyPose(), **change), 512).people[0].face
    distance = np.abs(after - before).max(axis=1)
    assert (distance[moved] > 1).all() and (distance[still] < 1e-3).all()


def test_fingers_curl():
    open_hand = puppet_keypoints(IDENTITIES[1], BodyPose(right_index=0.0), 512).people[0].right_hand
    pointing = puppet_keypoints(IDENTITIES[1], BodyPose(right_index=1.0), 512).people[0].right_hand
    reach = [np.linalg.norm(hand[8, :2] - hand[0, :2]) for hand in (open_hand, pointing)]
    assert reach[1] < 0.7 * reach[0] and np.allclose(open_hand[9:], pointing[9:])


def test_knees_bend_both_ways():
    def knee(where):
        return puppet_keypoints(IDENTITIES[0], BodyPose(crouch=0.8, right_knee=where), 512).people[0].body[9, 0]

    assert knee(1.0) < knee(0.0) - 10 and knee(-1.0) > knee(0.0) + 10


def test_feet_stay_on_the_ground():
    for identity in IDENTITIES[:8]:
        for pose in (BodyPose(), BodyPose(crouch=1.0), BodyPose(root_x=0.08), BodyPose(right_foot_x=0.8, hip_tilt=12)):
            ankles = puppet_keypoints(identity, pose, 1000).people[0].body[[10, 13], 1]
            assert np.allclose(ankles, 929, atol=0.5)


def test_dances_are_smooth_within_limits_and_varied():
    lines = []
    for seed in range(20):
        dance = Choreography.from_seed(seed)
        vectors = np.stack([dance.pose(frame).vector() for frame in range(300)])
        assert (vectors >= LOWEST).all() and (vectors <= HIGHEST).all()
        tracks = np.stack([points_of(IDENTITIES[0], dance.pose(frame), 1000)[:18, :2] for frame in range(0, 300, 3)])
        finer = np.stack([points_of(IDENTITIES[0], dance.pose(60 + k / 4), 1000)[:, :2] for k in range(120)])
        assert np.abs(np.diff(finer, axis=0)).max() < 50  # a quarter of a frame, 1000 pixels
        assert tracks[:, [4, 7]].std(axis=0).max() > 40  # the hands travel
        lines.append(tracks)
    for k, one in enumerate(lines):
        for other in lines[:k]:
            assert np.abs(one - other).max(axis=(1, 2)).mean() > 30


def test_pose_arguments_are_checked():
    dance = Choreography.from_seed(1)
    assert dance.pose(10) == dance.pose(10.0) != dance.pose(10.5)
    assert dance.pose(10**6) != dance.pose(10)
    for frame in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="0 or more"):
            dance.pose(frame)
    with pytest.raises(ValueError, match="finite"):
        BodyPose(lean=float("nan"))


def test_mirrored_pose_mirrors_the_figure():
    pose = Choreography.from_seed(9).pose(50)
    assert pose.mirrored().mirrored() == pose and len(FIELDS) == len(pose.vector())
    one = puppet_keypoints(IDENTITIES[4], pose, 512).people[0]
    two = puppet_keypoints(IDENTITIES[4], pose.mirrored(), 512).people[0]
    assert np.allclose(one.left_hand[:, 0], 512 - two.right_hand[:, 0], atol=1e-3)
    assert np.allclose(one.body[[8, 9, 10], 0], 512 - two.body[[11, 12, 13], 0], atol=1e-3)


def test_several_puppets_are_drawn_in_front_of_each_other():
    first, second = Identity.from_seed(1), Identity.from_seed(2)
    left, right = BodyPose(root_x=-0.5), BodyPose(root_x=0.5)
    both = np.asarray(draw_puppets([(first, left), (second, right)], 256, 128), int)
    masks = [puppet_mask(*one, 256, 128) for one in ((first, left), (second, right))]
    assert masks[0][:, 160:].max() == 0 == masks[1][:, :96].max()
    for number, one in enumerate(((first, left), (second, right))):
        alone = np.asarray(draw_puppets([one], 256, 128, scene=first), int)
        assert (alone == both)[masks[number] == 1].all()
    # the second hides the first where they stand in one place
    over = np.asarray(draw_puppets([(first, left), (second, left)], 256, 128), int)
    assert (over == np.asarray(draw_puppets([(second, left)], 256, 128, scene=first), int))[
        puppet_mask(second, left, 256, 128) == 1
    ].all()


def test_a_mask_is_what_a_puppet_covers():
    identity, pose = Identity.from_seed(3), BodyPose()
    mask, picture = puppet_mask(identity, pose, 128), np.asarray(draw_puppet(identity, pose, 128), int)
    empty = np.asarray(draw_puppets([(identity, BodyPose(root_x=9))], 128), int)
    assert 0.05 < mask.mean() < 0.4 and mask.min() == 0 and mask.max() == 1
    assert (picture == empty).all(axis=-1)[:110][mask[:110] == 0].all()  # below is its shadow
    assert (picture != empty).any(axis=-1)[mask == 1].mean() > 0.95
