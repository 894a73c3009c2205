"""The two 3D networks against the same arithmetic written out plainly, on seeded random weights."""

import pytest
import torch
import torch.nn.functional as F

from magicdance_core.evaluation.video_networks import BLOCKS, I3D, ResNet3D, pad_same


def randomized(network):
    """Every weight and every running statistic random, so that no branch is silent."""
    generator = torch.Generator().manual_seed(0)
    state = network.state_dict()
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() > 1:
            state[name] = noise * (2 / value[0].numel()) ** 0.5
        else:
            state[name] = 1 + 0.3 * noise.abs() if name.endswith(("var", "bn.weight")) else 0.3 * noise + (
                1.0 if name.endswith(".weight") else 0.0)  # fmt: skip
    network.load_state_dict(state)
    return network.double().eval(), {name: value.double() for name, value in state.items()}


def normed(state, name, x, epsilon):
    weight, bias, mean, var = (
        state[f"{name}.{part}"][:, None, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / (var + epsilon).sqrt() * weight + bias


def plain_resnet(state, clip):
    x = F.conv3d(clip, state["conv1.weight"], stride=(1, 2, 2), padding=3)
    x = F.max_pool3d(normed(state, "bn1", x, 1e-5).relu(), 3, 2, 1)
    names = sorted({name.rsplit(".conv1", 1)[0] for name in state if name.startswith("layer") and ".conv1" in name})
    for name in names:
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        y = normed(state, f"{name}.bn1", F.conv3d(x, state[f"{name}.conv1.weight"]), 1e-5).relu()
        y = F.conv3d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
        y = F.conv3d(normed(state, f"{name}.bn2", y, 1e-5).relu(), state[f"{name}.conv3.weight"])
        y = normed(state, f"{name}.bn3", y, 1e-5)
        if f"{name}.downsample.0.weight" in state:
            x = F.conv3d(x, state[f"{name}.downsample.0.weight"], stride=stride)
            x = normed(state, f"{name}.downsample.1", x, 1e-5)
        x = (x + y).relu()
    return x.flatten(2).mean(-1)


def padded(x, kernel, stride):
    """TensorFlow's rule, axis by axis."""
    for axis in range(3):
        size, k, s = x.shape[2 + axis], kernel[axis], stride[axis]
        total = max(k - s, 0) if size % s == 0 else max(k - size % s, 0)
        shape = list(x.shape)
        before, after = total // 2, total - total // 2
        zeros = [torch.zeros(*shape[: 2 + axis], n, *shape[3 + axis :], dtype=x.dtype) for n in (before, after)]
        x = torch.cat([zeros[0], x, zeros[1]], dim=2 + axis)
    return x


def plain_i3d(state, clip):
    def unit(name, x, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        x = F.conv3d(padded(x, weight.shape[2:], (stride,) * 3), weight, stride=stride)
        return normed(state, f"{name}.bn", x, 1e-3).relu()

    def pool(x, kernel, stride):
        return F.max_pool3d(padded(x, kernel, stride), kernel, stride)

    x = pool(unit("Conv3d_1a_7x7", clip, 2), (1, 3, 3), (1, 2, 2))
    x = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", x)), (1, 3, 3), (1, 2, 2))
    poolings = {3: None, 4: ((3, 3, 3), (2, 2, 2)), 5: ((2, 2, 2), (2, 2, 2))}
    for level, letters in ((3, "bc"), (4, "bcdef"), (5, "bc")):
        x = pool(x, *poolings[level]) if poolings[level] else x
        for n in (f"Mixed_{level}{letter}" for letter in letters):
            branches = unit(f"{n}.b0", x), unit(f"{n}.b1b", unit(f"{n}.b1a", x)), unit(f"{n}.b2b", unit(f"{n}.b2a", x))
            x = torch.cat([*branches, unit(f"{n}.b3b", pool(x, (3, 3, 3), (1, 1, 1)))], dim=1)
    logits = F.conv3d(x, state["logits.conv3d.weight"], state["logits.conv3d.bias"])
    return logits.flatten(2).mean(-1)


@pytest.mark.parametrize("width, depths", [(4, (1, 2, 2, 1)), (8, (3, 4, 6, 3))])
def test_resnet_equals_the_written_out_arithmetic(width, depths):
    network, state = randomized(ResNet3D(width, depths))
    clips = torch.randn(2, 3, 16, 48, 40, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        assert network(clips).shape == (2, 32 * width)
        torch.testing.assert_close(network(clips), plain_resnet(state, clips), rtol=1e-9, atol=1e-12)


def test_i3d_equals_the_written_out_arithmetic():
    network, state = randomized(I3D(10))
    clips = torch.randn(1, 3, 16, 47, 40, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        torch.testing.assert_close(network(clips), plain_i3d(state, clips), rtol=1e-8, atol=1e-10)


def test_same_padding_puts_the_odd_pixel_at_the_end():
    x = torch.ones(1, 1, 4, 5, 6)
    assert pad_same(x, (3, 3, 7), (1, 2, 2)).shape[2:] == (6, 7, 11)
    assert pad_same(x, (1, 2, 3), (1, 2, 2))[0, 0, 0, :, 0].tolist() == [1, 1, 1, 1, 1, 0]


def test_parameters_are_named_and_shaped_as_in_the_files():
    with torch.device("meta"):
        resnet, i3d = ResNet3D(), I3D()
    names = {name for name in resnet.state_dict() if "num_batches" not in name}
    assert len(names) == 265 and resnet.state_dict()["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1, 1)
    assert sum(p.numel() for p in resnet.parameters()) == 46_198_976  # 47.0 M with the classifier of 400
    assert {"Conv3d_1a_7x7.bn.running_var", "Mixed_5c.b3b.conv3d.weight", "logits.conv3d.bias"} <= set(i3d.state_dict())
    assert i3d.state_dict()["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)
    assert sum(p.numel() for p in i3d.parameters()) == 12_697_264 and len(BLOCKS) == 9
