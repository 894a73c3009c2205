"""The network that follows points through a clip for FVMD: PIPs++.

Parameters are named as in the file in use, pips2_weights.pth. Source: Zheng et al., "PointOdyssey: a large-scale
synthetic dataset for long-term point tracking" (2023): features of every frame, and convolutions in time that correct
all places of a point at once, again and again, from what the places' surroundings have in common with the point.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .correlations import COSTS, around, correlations, halved_sizes, sampled

STRIDE = 8  # pixels of a cell of the features
BACK = (2, 4)  # frames back, to which a place is compared besides the first
GROWS_EVERY = 2  # blocks of the convolutions in time, after which their channels double
TEMPERATURE = 10_000.0  # of the sines of movements


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with instance normalisation; the shortcut is projected if the size is halved."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride)) if stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        made = F.relu(F.instance_norm(self.conv1(x)))
        made = F.relu(F.instance_norm(self.conv2(made)))
        return F.relu(made + (x if self.downsample is None else F.instance_norm(self.downsample(x))))


class FrameEncoder(nn.Module):
    """Frames [N, 3, H, W] in [-1, 1] to features [N, latent, H / 8, W / 8]. widths: channels of the four levels."""

    def __init__(self, latent: int, widths: Sequence[int]):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, padding=3)
        channels = widths[0]
        for level, width in enumerate(widths, 1):
            units = ResidualUnit(channels, width, 1 if level == 1 else 2), ResidualUnit(width, width, 1)
            self.add_module(f"layer{level}", nn.Sequential(*units))
            channels = width
        self.levels = len(widths)
        self.conv2 = nn.Conv2d(sum(widths), 2 * latent, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * latent, latent, 1)

    def forward(self, frames: Tensor) -> Tensor:
        size = [side // STRIDE for side in frames.shape[2:]]
        x, parts = F.relu(F.instance_norm(self.conv1(frames))), []
        for level in range(1, self.levels + 1):
            x = self.get_submodule(f"layer{level}")(x)
            parts.append(F.interpolate(x, size, mode="bilinear", align_corners=True))
        return self.conv3(F.relu(F.instance_norm(self.conv2(torch.cat(parts, dim=1)))))


class TimeBlock(nn.Module):
    """Two convolutions in time, normalised over it; missing channels of the shortcut are zeros on both sides."""

    def __init__(self, inputs: int, outputs: int, is_first: bool):
        super().__init__()
        self.conv1 = nn.ModuleDict({"conv": nn.Conv1d(inputs, outputs, 3, padding=1)})
        self.conv2 = nn.ModuleDict({"conv": nn.Conv1d(outputs, outputs, 3, padding=1)})
        self.is_first = is_first

    def forward(self, x: Tensor) -> Tensor:
        made = self.conv1["conv"](x if self.is_first else F.relu(F.instance_norm(x)))
        made = self.conv2["conv"](F.relu(F.instance_norm(made)))
        more = made.shape[1] - x.shape[1]
        return made + F.pad(x, (0, 0, more // 2, more - more // 2))


class PlaceCorrection(nn.Module):
    """Correlations [N, T, costs] and movements [N, T, 2] of points to corrections of their places [N, T, 2]."""

    def __init__(self, latent: int, channels: int, blocks: int):
        super().__init__()
        self.latent = latent
        inputs = (1 + len(BACK)) * COSTS + latent + 2
        self.first_block_conv = nn.ModuleDict({"conv": nn.Conv1d(inputs, channels, 3, padding=1)})
        self.basicblock_list = nn.ModuleList()
        for number in range(blocks):
            wider = channels * 2 if number and number % GROWS_EVERY == 0 else channels
            self.basicblock_list.append(TimeBlock(channels, wider, number == 0))
            channels = wider
        self.dense = nn.Linear(channels, 2)

    def forward(self, costs: Tensor, movements: Tensor) -> Tensor:
        x = torch.cat([costs, _sines(movements, self.latent), movements], dim=2).transpose(1, 2)
        x = F.relu(self.first_block_conv["conv"](x))
        for block in self.basicblock_list:
            x = block(x)
        return self.dense(F.relu(x).transpose(1, 2))


class PointTracker(nn.Module):
    """Follows points through a clip. Sizes are those of the published network by default.

    latent: channels of the features. widths: see `FrameEncoder`. channels, blocks: of the convolutions in time.
    """

    def __init__(
        self, latent: int = 128, widths: Sequence[int] = (64, 96, 128, 128), channels: int = 128, blocks: int = 8
    ):
        super().__init__()
        self.fnet = FrameEncoder(latent, widths)
        self.delta_block = PlaceCorrection(latent, channels, blocks)

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]]) -> PointTracker:
        """Make a network of a file's sizes. Raises KeyError if it is of another one."""
        blocks = len({name.split(".")[2] for name in shapes if name.startswith("delta_block.basicblock_list.")})
        widths = [shapes[f"fnet.layer{level}.0.conv1.weight"][0] for level in range(1, 5)]
        channels = shapes["delta_block.first_block_conv.conv.weight"][0]
        return cls(shapes["fnet.conv3.weight"][0], widths, channels, blocks)

    def encode(self, frames: Tensor) -> Tensor:
        """Return the features of frames, float [N, 3, H, W] in 0..255."""
        return self.fnet(2 * frames / 255 - 1)

    def track(self, features: Tensor, points: Tensor, iterations: int) -> Tensor:
        """Return where points are in each frame of a clip, float [T, N, 2] in pixels.

        features: of its frames, from `encode`. points: float [N, 2], x and y in pixels of the first frame, which stay.
        The corrections of the last quarter of the iterations count half, as in FVMD's tool.
        """
        pyramid = halved_sizes(features)
        count, numbers = len(features), torch.arange(len(features), device=features.device)
        start = points[None] / STRIDE
        places = start.expand(count, -1, -1)
        first = _features_at(features[:1], start).expand(count, -1, -1)
        from_first, earlier = correlations(pyramid, first), [first] * len(BACK)
        for iteration in range(iterations):
            if iteration:
                before = [(numbers - back).clamp(min=0) for back in BACK]
                earlier = [_features_at(features[frames], places[frames]) for frames in before]
            volumes = [from_first, *(correlations(pyramid, wanted) for wanted in earlier)]
            costs = torch.cat([around(volume, places) for volume in volumes], dim=2)
            movements = places.diff(dim=0)
            movements = torch.cat([movements, movements[-1:]])
            correction = self.delta_block(costs.transpose(0, 1), movements.transpose(0, 1)).transpose(0, 1)
            places = places + correction * (0.5 if iteration > 3 * iterations // 4 else 1.0)
            places = torch.cat([start, places[1:]])
        return places * STRIDE


def _sines(movements: Tensor, channels: int) -> Tensor:
    """Return sines and cosines of x, then of y, [N, T, channels]."""
    count = channels // 4
    steps = TEMPERATURE ** -(torch.arange(count, device=movements.device) / (count - 1))
    x, y = (movements[..., axis, None] * steps for axis in (0, 1))
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=-1)


def _features_at(features: Tensor, places: Tensor) -> Tensor:
    """Return features [T, C, h, w] at places [T, N, 2] in cells: [T, N, C]; beyond the border those of the border."""
    return sampled(features, places[:, :, None])[..., 0].transpose(1, 2)
