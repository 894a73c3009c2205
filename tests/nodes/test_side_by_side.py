"""Side by Side, called as ComfyUI calls it."""

import pytest
import torch


@pytest.fixture
def arrange(node):
    return lambda *images, labels="", enlarge=1: node("SideBySide").arrange(
        images[0], labels, enlarge, **{f"image_{k}": image for k, image in enumerate(images[1:], 2)}
    )[0]


def video(frames: int, side: int, channels: int = 3):
    return torch.rand(frames, side, side, channels, generator=torch.Generator().manual_seed(frames))


def test_pictures_are_enlarged_without_interpolation_and_short_videos_held(arrange, comfy):
    long, short = video(3, 8), video(2, 16)
    frames = arrange(long, short, enlarge=2)
    gap = 8
    assert frames.shape == (3, gap + 32 + gap, gap + 32 + gap + 32 + gap, 3)
    for number in range(3):
        inside = frames[number, gap : gap + 32]
        assert torch.equal(inside[2::4, gap : gap + 32][:, 2::4], long[number])
        assert torch.equal(inside[1::2, gap + 32 + gap :][:, 1:32:2], short[min(number, 1)])
    assert comfy.bars[-1][-1][:2] == (3, 3)


def test_unconnected_inputs_and_grey_pictures(arrange):
    frames = arrange(video(1, 8), None, video(1, 15, channels=1), labels="grey and colour", enlarge=1)
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0 and frames.shape[2] < 60
    plain = arrange(video(1, 8), video(1, 15, channels=1))
    assert frames.shape[1] > plain.shape[1]  # a line of labels
    assert arrange(frames, video(1, 8)).shape[1] > frames.shape[1]  # one behind another


def test_too_many_labels_and_empty_inputs_are_refused(arrange):
    with pytest.raises(ValueError, match="3 labels for 2 inputs"):
        arrange(video(1, 8), video(1, 8), labels="a, b, c")
    with pytest.raises(ValueError, match="`image_2` has no pictures"):
        arrange(video(1, 8), torch.zeros(0, 8, 8, 3))
