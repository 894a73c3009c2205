import pytest
import torch

from magicdance_core.choices import NOISES
from magicdance_core.errors import InputError
from magicdance_core.sampling.noise import FrameNoise

SHARED = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(0))


def correlation(a, b):
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


@pytest.mark.parametrize("kind", NOISES[1:])
def test_standard_normal_and_from_the_frame_alone(kind):
    noise = FrameNoise(kind, SHARED, seed=3)
    for draw in (noise.start, lambda frame: noise.at_step(2, frame)):
        frames = [draw(frame) for frame in range(5)]
        assert all(frame.shape == SHARED.shape and frame.dtype == torch.float32 for frame in frames)
        assert all(abs(frame.mean()) < 0.05 and abs(frame.std() - 1) < 0.05 for frame in frames)
        assert torch.equal(draw(3), frames[3])
    again = FrameNoise(kind, SHARED, seed=4)
    assert torch.equal(again.start(1), noise.start(1)) == (kind == "shared")


@pytest.mark.parametrize(("kind", "expected"), [("shared", 1.0), ("mixed", 0.5), ("independent", 0.0), ("free", 0.0)])
def test_how_much_two_frames_share(kind, expected):
    noise = FrameNoise(kind, SHARED, seed=3)
    for draw in (noise.start, lambda frame: noise.at_step(2, frame)):
        if kind != "free":
            assert correlation(draw(0), draw(9)) == pytest.approx(expected, abs=0.05)
    steps = [noise.at_step(step, 0) for step in range(3)]
    assert abs(correlation(steps[0], steps[1])) < 0.05 and abs(correlation(steps[0], noise.start(0))) < 0.05
    first, second = (torch.randn(50, generator=noise.generator(1, frame)) for frame in (0, 1))
    assert torch.equal(first, second) == (kind == "shared")


def test_shared_is_the_published_noise():
    assert torch.equal(FrameNoise("shared", SHARED, seed=3).start(12), SHARED)


@pytest.mark.parametrize(("length", "overlap"), [(16, 4), (16, 12), (8, 0), (16, 3)])
def test_every_window_sees_the_noises_of_the_first(length, overlap):
    noise = FrameNoise("free", SHARED[:, :, :2, :2], seed=3, length=length, overlap=overlap)
    frames = [noise.start(frame).flatten().tolist() for frame in range(6 * length)]
    first = sorted(frames[:length])
    assert len({tuple(frame) for frame in first}) == length
    for start in range(0, 5 * length, length - overlap):
        assert sorted(frames[start : start + length]) == first
    if length - overlap > 1 and overlap != 3:
        assert frames[length : 2 * length] != frames[:length]


def test_unknown_noise():
    with pytest.raises(InputError, match="shared, independent, mixed, free"):
        FrameNoise("pink", SHARED, seed=0)
