"""Compare Frames, called as ComfyUI calls it."""

import pytest
import torch


@pytest.fixture
def compare(node, comfy):
    return node("CompareFrames").compare


def test_metrics_and_difference_picture(compare):
    truth = torch.full((3, 8, 10, 3), 0.4)
    frames = truth.clone()
    frames[1] += 0.2
    difference, report, psnr, ssim = compare(frames, truth, 2.0)
    assert difference.shape == truth.shape and not difference[[0, 2]].any()
    assert difference[1].unique().tolist() == pytest.approx([0.4], abs=0.01)
    assert psnr == pytest.approx((100 + 100 + 20 * torch.log10(torch.tensor(5.0)).item()) / 3, abs=0.01)
    assert ssim < 1 and report.splitlines()[:2] == ["3 frames", f"PSNR {psnr:.2f} dB"]
    assert "of still pixels" in report and "of moving pixels" not in report


def test_one_truth_for_all_and_an_alpha_channel(compare):
    frames = torch.full((2, 8, 8, 4), 0.5)
    difference, report, psnr, ssim = compare(frames, frames[:1, ..., :3], 1.0)
    assert psnr == 100 and ssim == pytest.approx(1) and not difference.any()


@pytest.mark.parametrize(
    "frames, truth, message",
    [
        (torch.zeros(3, 8, 8, 3), torch.zeros(2, 8, 8, 3), "`truth` has 2 pictures, `frames` has 3"),
        (torch.zeros(1, 8, 8, 3), torch.zeros(1, 8, 9, 3), "8 x 8 pixels, `truth` has 9 x 8"),
        (torch.zeros(0, 8, 8, 3), torch.zeros(1, 8, 8, 3), "has no pictures|no frames"),
        (torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 4, 3), "at least 7 x 7"),
        (torch.full((1, 8, 8, 3), torch.nan), torch.zeros(1, 8, 8, 3), "not finite"),
    ],
)
def test_unusable_pictures_are_refused(compare, frames, truth, message):
    with pytest.raises(ValueError, match=message):
        compare(frames, truth, 3.0)
