"""A value a frame: against worked-out values, in both protocols."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.evaluation.metrics import STILL_IN_VIDEO, flicker, psnr, published_l1, to_float
from magicdance_core.evaluation.scores import PIXEL_SCORES, PoseExtractor, body_points, pose_scores, score_frames
from magicdance_core.pose.keypoints import Person, PoseFrame


def pairs(made, true):
    return [(Image.fromarray(a), Image.fromarray(b)) for a, b in zip(made, true)]


def flat(*values):
    return [np.full((8, 10, 3), value, np.uint8) for value in values]


def test_every_score_of_flat_pictures():
    scores = score_frames(pairs(flat(110, 100), flat(100, 100)))
    assert set(PIXEL_SCORES) <= set(scores) and all(values.shape == (2,) for values in scores.values())
    assert scores["psnr"] == pytest.approx([20 * np.log10(25.5), 100])
    assert scores["l1"] == pytest.approx([10 / 255, 0]) and scores["l1_published"] == pytest.approx([10 / 80, 0])
    assert np.isnan(scores["flicker_still"][0]) and scores["flicker_still"][1] == pytest.approx(10 / 255)
    assert np.isnan(scores["flicker_moving"]).all() and not scores["resized"].any()


def test_the_published_psnr_wraps_around():
    white, black = flat(255, 255), flat(0, 0)
    scores = score_frames(pairs(white, black))
    assert scores["psnr"] == pytest.approx(0) and scores["psnr_published"] == pytest.approx(20 * np.log10(255))
    near = score_frames(pairs(flat(110), flat(100)))  # 10^2 = 100 wraps neither way, and (-10)^2 neither
    assert near["psnr"] == pytest.approx(near["psnr_published"])
    sixteen = score_frames(pairs(flat(116), flat(100)))  # 16^2 wraps to 0
    assert sixteen["psnr_published"] == pytest.approx(100) and sixteen["psnr"] < 25


def test_flicker_separates_still_and_moving_pixels(square):
    true = [to_float(picture) for picture in square(2)]
    moving = np.abs(true[1] - true[0]).max(axis=-1) > STILL_IN_VIDEO
    made = [true[0], true[1] + 0.1 * ~moving[..., None] + 0.2 * moving[..., None]]
    assert flicker(made[1], made[0], true[1], true[0]) == pytest.approx((0.1, 0.2))
    assert flicker(true[1] + 0.3, true[0] + 0.3, true[1], true[0]) == pytest.approx((0, 0))  # a shift does not flicker


def test_other_sizes_are_an_error_or_resized_as_published():
    made = [np.full((4, 5, 3), 100, np.uint8)]
    with pytest.raises(InputError, match="5 x 4 pixels, its truth 10 x 8.*--protocol published"):
        score_frames(pairs(made, flat(100)))
    scores = score_frames(pairs(made, flat(100)), published=True)
    assert scores["resized"] == [1] and scores["psnr"] == [100]
    assert scores["l1_published"] == [published_l1(*[to_float(p) for p in flat(100, 100)])]


def test_flicker_is_nan_after_a_change_of_size():
    pictures = [*flat(1, 2), *[np.full((9, 9, 3), value, np.uint8) for value in (3, 4)]]
    scores = score_frames(pairs(pictures, pictures))
    assert np.isnan(scores["flicker_still"]).tolist() == [True, False, True, False]
    assert scores["width"].tolist() == [10, 10, 9, 9]


def test_tiny_frames_and_no_frames_are_refused():
    with pytest.raises(InputError, match="at least 7 x 7"):
        score_frames(pairs([np.zeros((6, 9, 3), np.uint8)] * 1, [np.zeros((6, 9, 3), np.uint8)]))
    with pytest.raises(InputError, match="no frames"):
        score_frames([])


def test_scores_agree_with_torchmetrics(square):
    image = pytest.importorskip("torchmetrics.functional.image")
    import torch

    made, true = square(1, noise=20)[0], square(1)[0]
    one, two = (torch.from_numpy(to_float(p)).permute(2, 0, 1)[None] for p in (made, true))
    expected = float(image.peak_signal_noise_ratio(one, two, data_range=1.0))
    assert psnr(to_float(made), to_float(true)) == pytest.approx(expected, rel=1e-6)


def body(points) -> PoseFrame:
    return PoseFrame((Person(body=np.array(points, np.float32)),), 200, 100)


def test_pose_error_in_percent_of_the_height():
    points = np.c_[np.random.default_rng(0).uniform(10, 90, (18, 2)), np.ones(18)]
    moved = points + (3, 4, 0)
    moved[0, 2] = 0
    true, made = body_points(body(points))[None], body_points(body(moved))[None]
    scores = pose_scores(made, true)
    assert scores["pose_error"] == pytest.approx([5]) and scores["pose_found"] == pytest.approx([17 / 18])
    nobody = body_points(PoseFrame((), 200, 100))[None]
    lost, nothing = pose_scores(nobody, true), pose_scores(true, nobody)
    assert np.isnan(lost["pose_error"]) and lost["pose_found"] == [0] and np.isnan(nothing["pose_found"])
    with pytest.raises(InputError, match="keypoints for 1 frames, not for 2"):
        pose_scores(np.concatenate([made, made]), true)


def test_pose_of_the_largest_person_is_taken():
    small = np.c_[np.linspace(1, 5, 18), np.linspace(1, 5, 18), np.ones(18)]
    large = small * (10, 10, 1)

    class Two:
        def detect(self, picture):
            return tuple(Person(body=points.astype(np.float32)) for points in (small, large))

    found = PoseExtractor(Two()).prepare(np.zeros((100, 100, 3), np.uint8))
    assert found[:, :2] == pytest.approx(large[:, :2] / 100)
