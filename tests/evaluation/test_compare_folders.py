"""Comparing folders and videos frame by frame."""

import numpy as np
import pytest
from PIL import Image

from magicdance_core.errors import InputError
from magicdance_core.evaluation.scores import compare_folders
from magicdance_core.media import write_animation, write_picture


def folder(path, names, value=100, size=(16, 12)):
    for name in names:
        write_picture(path / f"{name}.png", Image.new("RGB", size, (value,) * 3))
    return path


def test_means_over_frames(tmp_path):
    truth = folder(tmp_path / "truth", ["1", "2"])
    made = folder(folder(tmp_path / "made", ["1"], 100 + 51).parent / "made", ["2"], 100)
    report = compare_folders(made, truth)
    assert report["frames"] == 2 and report["resized"] == 0 and (report["width"], report["height"]) == (16, 12)
    assert report["psnr"] == pytest.approx((20 * np.log10(5) + 100) / 2)
    assert report["l1"] == pytest.approx(0.1) and report["l1_published"] == pytest.approx(51 / 2 / (16 * 12))
    assert 0.9 < report["ssim"] < 1 and report["psnr_published"] > report["psnr"]


def test_other_sizes_are_resized_and_noted(tmp_path):
    report = compare_folders(folder(tmp_path / "a", "12", size=(8, 6)), folder(tmp_path / "b", "12"))
    assert report["resized"] == 2 and report["psnr"] == 100


@pytest.mark.parametrize("made, truth, message", [("12", "123", "a lacks 1 .*3"), ("123", "12", "b lacks 1 .*3")])
def test_missing_frames_are_named(tmp_path, made, truth, message):
    with pytest.raises(InputError, match=message):
        compare_folders(folder(tmp_path / "a", made), folder(tmp_path / "b", truth))


def test_two_pictures_of_one_name_are_refused(tmp_path):
    made = folder(tmp_path / "a", "1")
    Image.new("RGB", (16, 12)).save(made / "1.jpg")
    with pytest.raises(InputError, match="several pictures named 1"):
        compare_folders(made, folder(tmp_path / "b", "1"))


def test_a_folder_and_a_video_are_matched_by_order(tmp_path):
    video = tmp_path / "a.mp4"
    with write_animation(video, 10) as add:
        for _ in range(2):
            add(Image.new("RGB", (16, 12), (100, 100, 100)))
    assert compare_folders(video, folder(tmp_path / "b", "58"))["psnr"] > 40
    with pytest.raises(InputError, match="a.mp4 ends after 2 frames"):
        compare_folders(video, folder(tmp_path / "c", "123"))


def test_two_pictures_are_compared(tmp_path):
    one = folder(tmp_path / "a", ["x"]) / "x.png"
    assert compare_folders(one, folder(tmp_path / "b", ["y"]) / "y.png")["frames"] == 1


def test_too_small_frames_are_refused(tmp_path):
    tiny = folder(tmp_path / "a", "1", size=(4, 4))
    with pytest.raises(InputError, match="4 x 4 pixels; give at least 7 x 7"):
        compare_folders(tiny, tiny)
