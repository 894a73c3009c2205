"""The network that makes the frame between two others for motion smoothness: AMT-S.

Parameters are named as in the file in use, amt-s.pth. Source: Li et al., "AMT: All-Pairs Multi-Field Transforms for
Efficient Frame Interpolation" (2023, arXiv 2304.09790): the flows from the middle to both frames are guessed at a
sixteenth of the size, then enlarged and corrected by correlations of all pairs of features, level by level; several
pairs of flows give candidates for the frame, which are combined. Only the middle in time is made here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .correlations import COSTS, around, correlations, halved_sizes, sampled

UNIT = 16  # both sides of a frame are multiples of it
MIN_SIDE = 128  # below it the smallest correlations have a single cell a side, where AMT's look-up divides by zero
WIDTHS = (20, 32, 44, 56)  # channels at a half, a quarter, an eighth and a sixteenth of the size
MATCHING_WIDTHS, MATCHED = (32, 64, 96), 84  # channels of the levels of the features that are correlated, and of these
SIDE_CHANNELS = 20
FIELDS = 3  # pairs of flows in the end
MIDDLE = 0.5
PAIRS_AT_ONCE = 2**25  # correlations of cells in memory


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.PReLU(outputs))


def _two_convolutions(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv2d(inputs, hidden, 3, padding=1), nn.Conv2d(hidden, outputs, 3, padding=1)
    return nn.Sequential(first, nn.LeakyReLU(0.1), second)


class NarrowUnit(nn.Module):
    """Convolutions 1x1, 3x3 and 1x1 with instance normalisation, the inner ones narrow; a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        narrow = outputs // 4
        self.conv1 = nn.Conv2d(inputs, narrow, 1)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, padding=1)
        self.conv3 = nn.Conv2d(narrow, outputs, 1)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride)) if stride != 1 else None

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for layer in (self.conv1, self.conv2, self.conv3):
            made = F.relu(F.instance_norm(layer(made)))
        return F.relu(made + (x if self.downsample is None else F.instance_norm(self.downsample(x))))


class MatchingEncoder(nn.Module):
    """Frames [N, 3, H, W] to the features that are correlated, [N, MATCHED, H / 8, W / 8]."""

    def __init__(self) -> None:
        super().__init__()
        channels = MATCHING_WIDTHS[0]
        self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3)
        for level, width in enumerate(MATCHING_WIDTHS, 1):
            units = NarrowUnit(channels, width, 1 if level == 1 else 2), NarrowUnit(width, width, 1)
            self.add_module(f"layer{level}", nn.Sequential(*units))
            channels = width
        self.conv2 = nn.Conv2d(channels, MATCHED, 1)

    def forward(self, frames: Tensor) -> Tensor:
        x = F.relu(F.instance_norm(self.conv1(frames)))
        for level in range(1, len(MATCHING_WIDTHS) + 1):
            x = self.get_submodule(f"layer{level}")(x)
        return self.conv2(x)


class FrameEncoder(nn.Module):
    """Frames [N, 3, H, W] to features at a half, a quarter, an eighth and a sixteenth of the size, WIDTHS channels."""

    def __init__(self) -> None:
        super().__init__()
        for level, (inputs, width) in enumerate(zip((3, *WIDTHS), WIDTHS), 1):
            self.add_module(
                f"pyramid{level}", nn.Sequential(_convolution(inputs, width, 2), _convolution(width, width))
            )

    def forward(self, frames: Tensor) -> list[Tensor]:
        levels = [frames]
        for level in range(1, len(WIDTHS) + 1):
            levels.append(self.get_submodule(f"pyramid{level}")(levels[-1]))
        return levels[1:]


class SideBlock(nn.Module):
    """Residual block whose last SIDE_CHANNELS channels pass a convolution of their own after each of the others."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1, self.conv2 = _convolution(channels, channels), _convolution(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv3, self.conv4 = _convolution(channels, channels), _convolution(SIDE_CHANNELS, SIDE_CHANNELS)
        self.conv5, self.prelu = nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        made = x
        for whole, side in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            made = whole(made)
            made = torch.cat([made[:, :-SIDE_CHANNELS], side(made[:, -SIDE_CHANNELS:])], dim=1)
        return self.prelu(x + self.conv5(made))


class Decoder(nn.Module):
    """Features [N, inputs, h, w] to others of twice the size, [N, outputs, 2h, 2w]."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        enlarged = nn.ConvTranspose2d(hidden, outputs, 4, 2, padding=1)
        self.convblock = nn.Sequential(_convolution(inputs, hidden), SideBlock(hidden), enlarged)

    def forward(self, x: Tensor) -> Tensor:
        return self.convblock(x)


class Correction(nn.Module):
    """Changes of flows and of a level's features, from correlations around where the flows lead.

    channels: of the features. scale: how many times larger than the correlations they are.
    """

    def __init__(self, channels: int, scale: int):
        super().__init__()
        self.scale = scale
        self.convc1 = nn.Conv2d(2 * COSTS, 64, 1)
        self.convf1, self.convf2 = nn.Conv2d(4, 40, 7, padding=3), nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(64 + 20, 68, 3, padding=1)
        self.gru = _two_convolutions(68 + 4 + channels, 76, 76)  # has no memory, despite the name in the file
        self.feat_head = _two_convolutions(76, 76, channels)
        self.flow_head = _two_convolutions(76, 76, 4)

    def forward(self, costs: Tensor, flows: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return changes of flows and features, at the features' size; costs and flows are at that of correlations."""
        seen = F.leaky_relu(self.convc1(costs), 0.1)
        moved = F.leaky_relu(self.convf2(F.leaky_relu(self.convf1(flows), 0.1)), 0.1)
        both = F.leaky_relu(self.conv(torch.cat([seen, moved], dim=1)), 0.1)
        state = self.gru(torch.cat([both, flows, _resized(features, 1 / self.scale)], dim=1))
        return _resized_flows(self.flow_head(state), self.scale), _resized(self.feat_head(state), self.scale)


class FrameInterpolator(nn.Module):
    """AMT-S, for the frame in the middle between two."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, sixteenth = WIDTHS
        self.feat_encoder, self.encoder = MatchingEncoder(), FrameEncoder()
        self.decoder4 = Decoder(2 * sixteenth + 1, 2 * sixteenth, 4 + eighth)
        self.decoder3 = Decoder(3 * eighth + 4, 3 * eighth, 4 + quarter)
        self.decoder2 = Decoder(3 * quarter + 4, 3 * quarter, 4 + half)
        self.decoder1 = Decoder(3 * half + 4, 3 * half, 8 * FIELDS)
        self.update4, self.update3, self.update2 = Correction(eighth, 1), Correction(quarter, 2), Correction(half, 4)
        ends = nn.Conv2d(3 * FIELDS, 6 * FIELDS, 3, padding=1), nn.Conv2d(6 * FIELDS, 3, 3, padding=1)
        self.comb_block = nn.Sequential(ends[0], nn.PReLU(6 * FIELDS), ends[1])

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the frames between two, float [N, 3, H, W] in [0, 1].

        first, second: the same; H and W are multiples of UNIT and at least MIN_SIDE. Flows [N, 4, h, w] are x and y, in
        pixels of their size, from the middle to the first frame, then to the second one.
        """
        mean = torch.stack([first, second]).mean(dim=(0, 2, 3, 4))[:, None, None, None]
        frames = first - mean, second - mean
        matching = self.feat_encoder(torch.cat(frames)).chunk(2)
        levels = list(zip(*(self.encoder(frame) for frame in frames)))  # (of the first, of the second) for each size
        time = torch.full_like(levels[3][0][:, :1], MIDDLE)
        flows, features = _flows_of(self.decoder4(torch.cat([*levels[3], time], dim=1)))
        flows, features = _corrected(self.update4, matching, flows, features)
        for decoder, update, level in ((self.decoder3, self.update3, 2), (self.decoder2, self.update2, 1)):
            changes, features = _flows_of(decoder(_aligned(features, levels[level], flows)))
            flows = changes + _resized_flows(flows, 2)
            flows, features = _corrected(update, matching, flows, features)
        made = self.decoder1(_aligned(features, levels[0], flows))
        return self._combined(made, _resized_flows(flows, 2), frames, mean).clamp(0, 1)

    def _combined(self, made: Tensor, flows: Tensor, frames: tuple[Tensor, Tensor], mean: Tensor) -> Tensor:
        """Return the mean of FIELDS candidates and what the last layers add to it.

        made: changes of each field's flows to the first frame, to the second, weights of the first frame, residues.
        """
        to_first, to_second, weights, residues = made.split([2 * FIELDS, 2 * FIELDS, FIELDS, 3 * FIELDS], dim=1)
        candidates = []
        for field in range(FIELDS):
            x, colours = slice(2 * field, 2 * field + 2), slice(3 * field, 3 * field + 3)
            one = _warped(frames[0], to_first[:, x] + flows[:, :2])
            two = _warped(frames[1], to_second[:, x] + flows[:, 2:])
            share = weights[:, field : field + 1].sigmoid()
            candidates.append(share * one + (1 - share) * two + mean + residues[:, colours])
        return torch.stack(candidates).mean(dim=0) + self.comb_block(torch.cat(candidates, dim=1))


def _flows_of(made: Tensor) -> tuple[Tensor, Tensor]:
    """Return a decoder's flows and features."""
    return made[:, :4], made[:, 4:]


def _aligned(features: Tensor, of_frames: tuple[Tensor, Tensor], flows: Tensor) -> Tensor:
    """Return the next decoder's input: features, those of both frames moved to the middle, flows."""
    moved = [_warped(values, flow) for values, flow in zip(of_frames, flows.chunk(2, dim=1))]
    return torch.cat([features, *moved, flows], dim=1)


def _corrected(
    update: Correction, matching: tuple[Tensor, ...], flows: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Return flows and features after a correction. matching: features of both frames that are correlated."""
    small = _resized_flows(flows, 1 / update.scale)
    one, two = matching
    # Movement is taken as even: from frame to frame it is that from the middle, divided by the time left.
    cells = _cells(one)
    forth = _costs(one, two, cells + small[:, 2:].permute(0, 2, 3, 1) / MIDDLE)
    back = _costs(two, one, cells + small[:, :2].permute(0, 2, 3, 1) / MIDDLE)
    changes, more = update(torch.cat([forth, back], dim=1), small, features)
    return flows + changes, features + more


def _costs(wanted: Tensor, other: Tensor, places: Tensor) -> Tensor:
    """Return how alike features [N, C, h, w] are to those of the other frame around places [N, h, w, 2].

    [N, COSTS, h, w]. Cells are compared in parts, since all pairs of a large frame's would fill the memory.
    """
    count, _, height, width = wanted.shape
    pyramid, part = halved_sizes(other), max(1, PAIRS_AT_ONCE // (count * height * width))
    parts = zip(wanted.flatten(2).transpose(1, 2).split(part, dim=1), places.flatten(1, 2).split(part, dim=1))
    found = torch.cat([around(correlations(pyramid, features), cells) for features, cells in parts], dim=1)
    return found.transpose(1, 2).reshape(count, -1, height, width)


def _warped(values: Tensor, flow: Tensor) -> Tensor:
    """Return what lies where a flow [N, 2, h, w] leads in values [N, C, h, w], at the border what is nearest."""
    return sampled(values, _cells(values) + flow.permute(0, 2, 3, 1))


def _cells(of: Tensor) -> Tensor:
    """Return x and y of all cells, [1, h, w, 2]."""
    y, x = (torch.arange(side, device=of.device, dtype=of.dtype) for side in of.shape[2:])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def _resized(values: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return values
    return F.interpolate(values, scale_factor=scale, mode="bilinear", align_corners=False)


def _resized_flows(flows: Tensor, scale: float) -> Tensor:
    """Return flows of another size, in its pixels."""
    return scale * _resized(flows, scale)
