"""FVMD: the tracker against the same arithmetic written out plainly, on seeded random weights, and the histograms."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from magicdance_core.errors import InputError
from magicdance_core.evaluation import motion_features
from magicdance_core.evaluation.features import extract_features
from magicdance_core.evaluation.frechet import frechet_of_features
from magicdance_core.evaluation.motion_features import MotionExtractor, motion_histograms
from magicdance_core.evaluation.point_tracker import PointTracker

SMALL = (8, (4, 6, 8, 8), 4, 5)
PUBLISHED = {  # some shapes of pips2_weights.pth, from its authors' code
    "fnet.conv1.weight": (64, 3, 7, 7), "fnet.layer2.0.downsample.0.weight": (96, 64, 1, 1),
    "fnet.layer4.1.conv2.bias": (128,), "fnet.conv2.weight": (256, 416, 3, 3), "fnet.conv3.weight": (128, 256, 1, 1),
    "delta_block.first_block_conv.conv.weight": (128, 718, 3),
    "delta_block.basicblock_list.2.conv1.conv.weight": (256, 128, 3),
    "delta_block.basicblock_list.7.conv2.conv.weight": (1024, 1024, 3), "delta_block.dense.weight": (2, 1024),
}  # fmt: skip


def randomized(seed=0):
    network, generator = PointTracker(*SMALL), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            scale = (2 / weight[0].numel()) ** 0.5 if weight.dim() > 1 else 0.2
            weight.copy_(torch.randn(weight.shape, generator=generator) * scale)
        network.delta_block.dense.weight.mul_(0.2)
    return network.eval()


# The network


def normed(x):
    axes = tuple(range(2, x.dim()))
    return (x - x.mean(axes, keepdim=True)) / (x.var(axes, unbiased=False, keepdim=True) + 1e-5).sqrt()


def plain_features(state, frames):
    def conv(name, x, stride=1, padding=1):
        return F.conv2d(x, state[f"fnet.{name}.weight"], state[f"fnet.{name}.bias"], stride, padding)

    x, parts = normed(conv("conv1", frames / 127.5 - 1, 2, 3)).relu(), []
    for level in range(1, 5):
        for unit in range(2):
            name, stride = f"layer{level}.{unit}", 2 if level > 1 and unit == 0 else 1
            y = normed(conv(f"{name}.conv1", x, stride)).relu()
            y = normed(conv(f"{name}.conv2", y)).relu()
            x = normed(conv(f"{name}.downsample.0", x, stride, 0)) if stride == 2 else x
            x = (x + y).relu()
        size = [side // 8 for side in frames.shape[2:]]
        parts.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
    return conv("conv3", normed(conv("conv2", torch.cat(parts, 1))).relu(), 1, 0)


def between(values, x, y, clamped):
    """A value between four cells of [h, w, ...], by hand; cells outside are zero or, clamped, those of the border."""
    height, width = values.shape[:2]
    left, top, total = math.floor(x), math.floor(y), 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - abs(x - column)) * (1 - abs(y - row))
        if clamped:
            total = total + share * values[min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
        elif 0 <= row < height and 0 <= column < width:
            total = total + share * values[row, column]
    return total


def plain_track(state, features, points, iterations):
    levels = [features]
    for _ in range(3):
        levels.append(F.avg_pool2d(levels[-1], 2))
    levels = [level.permute(0, 2, 3, 1).numpy() for level in levels]
    count, places = len(features), np.repeat(points[None] / 8, len(features), axis=0)
    first = [between(levels[0][0], *point, True) for point in points / 8]
    for iteration in range(iterations):
        moved = places.copy()
        for n in range(len(points)):
            rows = []
            for t in range(count):
                costs = []
                for back in (None, 2, 4):
                    wanted = first[n]
                    if back and iteration:
                        wanted = between(levels[0][max(t - back, 0)], *places[max(t - back, 0), n], True)
                    for number, level in enumerate(levels):
                        alike = level[t] @ wanted / len(wanted) ** 0.5
                        x, y = places[t, n] / 2**number
                        costs += [between(alike, x + i, y + j, False) for i in range(-3, 4) for j in range(-3, 4)]
                ahead = min(t, count - 2)
                dx, dy = places[ahead + 1, n] - places[ahead, n]
                frequencies = [10_000 ** -(k / (SMALL[0] / 4 - 1)) for k in range(SMALL[0] // 4)]
                waves = [f(d * w) for d in (dx, dy) for f in (math.sin, math.cos) for w in frequencies]
                rows.append([*costs, *waves, dx, dy])
            change = plain_corrections(state, torch.tensor(rows).T[None])
            moved[1:, n] += change[1:] * (0.5 if iteration > 3 * iterations // 4 else 1)
        places = moved
    return places * 8


def plain_corrections(state, x):
    def conv(name, x):
        return F.conv1d(x, state[f"delta_block.{name}.conv.weight"], state[f"delta_block.{name}.conv.bias"], padding=1)

    x = conv("first_block_conv", x).relu()
    for number in range(SMALL[3]):
        name = f"basicblock_list.{number}"
        y = conv(f"{name}.conv1", normed(x).relu() if number else x)
        y = conv(f"{name}.conv2", normed(y).relu())
        missing = y.shape[1] - x.shape[1]
        zeros = torch.zeros(1, missing // 2, x.shape[2])
        x = y + (torch.cat([zeros, x, zeros], 1) if missing else x)
    return (x.relu()[0].T @ state["delta_block.dense.weight"].T + state["delta_block.dense.bias"]).numpy()


def test_the_tracker_is_its_arithmetic():
    network = randomized().double()
    state = {name: weight.double() for name, weight in network.state_dict().items()}
    frames = torch.rand(6, 3, 128, 160, generator=torch.Generator().manual_seed(1)).double() * 255
    points = np.array([[20.0, 30.0], [155.0, 8.0], [77.3, 64.2]])
    with torch.no_grad():
        features = network.encode(frames)
        made = network.track(features, torch.from_numpy(points), 5).numpy()
        assert torch.allclose(features, plain_features(state, frames), atol=1e-10)
    torch.set_default_dtype(torch.float64)
    try:
        expected = plain_track(state, features, points, 5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.abs(made - expected).max() < 1e-3 and np.array_equal(made[0], points)
    assert 0.5 < np.abs(made[1:] - points).max() < 1000  # it moves them


def test_sizes_are_those_of_the_published_file():
    with torch.device("meta"):
        state = PointTracker().state_dict()
    assert all(tuple(state[name].shape) == shape for name, shape in PUBLISHED.items())
    assert PointTracker.of_shapes(
        {name: tuple(weight.shape) for name, weight in PointTracker(*SMALL).state_dict().items()}
    )
    assert len(state) == 2 * (1 + 16 + 3 + 2) + 2 * (1 + 16 + 1)  # nothing is normalised with weights of its own


def test_a_foreign_file_is_refused(tmp_path):
    torch.save({"model_state_dict": {"fnet.conv1.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(InputError, match="is no PIPs.*see --weights-help"):
        MotionExtractor.from_file(tmp_path / "a.pth", torch.device("cpu"))


# The features


def grid(frames=16):
    y, x = np.meshgrid(np.arange(8.0, 248, 12), np.arange(8.0, 248, 12), indexing="ij")
    return np.repeat(np.stack([x, y], axis=-1).reshape(1, 400, 2), frames, axis=0)


def test_even_movement_fills_one_direction_and_no_acceleration():
    moved = grid() + np.arange(16)[:, None, None] * np.array([2.75, 0.5])
    velocities, accelerations = motion_histograms(moved).reshape(2, 4, 4, 4, 8)
    # 25 points in 4 frames, but the first; up to 3 pixels count log2(1 + 3) / 8; atan2(2.75, 0.5) is 80 degrees.
    assert np.allclose(velocities[1:, ..., 5], 100 * 2 / 8) and np.allclose(velocities[0, ..., 5], 75 * 2 / 8)
    assert velocities.sum() == pytest.approx(velocities[..., 5].sum())
    assert not accelerations.any()


def test_acceleration_is_a_change_of_velocity():
    moved = grid() + (np.arange(16) ** 2)[:, None, None] * np.array([0.1, 0.45])
    _, accelerations = motion_histograms(moved).reshape(2, 4, 4, 4, 8)
    assert np.allclose(accelerations[1:, ..., 4], 100 * 1 / 8) and np.allclose(accelerations[0, ..., 4], 50 / 8)
    jump = grid()
    jump[8:, :25] -= [400.0, 380.0]  # a row and a quarter of points jump up and left: 552 pixels are counted as 255
    velocities, _ = motion_histograms(jump).reshape(2, 4, 4, 4, 8)
    assert velocities.sum() == pytest.approx(25) and velocities[2, 0, :, 1].sum() == pytest.approx(25)


def test_clips_of_a_video_do_not_depend_on_batches(monkeypatch):
    monkeypatch.setattr(motion_features, "ITERATIONS", 2)
    frames = np.random.default_rng(0).integers(0, 255, (18, 40, 50, 3), dtype=np.uint8)
    extractor = MotionExtractor(randomized(), torch.device("cpu"))
    prepared = np.stack([extractor.prepare(frame) for frame in frames])
    assert prepared.shape == (18, 256, 256, 3)
    whole = extractor.extract(prepared)
    assert whole.shape == (3, 1024) and np.isfinite(whole).all() and whole.any()
    assert np.allclose(extractor.extract(prepared[1:17])[0], whole[1], atol=1e-3)
    assert extract_features(frames[:15], [extractor])["pips"].shape == (0,)
    assert frechet_of_features(torch.from_numpy(whole), torch.from_numpy(whole)) == pytest.approx(0, abs=1e-6)
