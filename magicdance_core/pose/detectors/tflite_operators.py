"""TFLite's operators as torch modules.

Tensors of four dimensions are [1, C, H, W] here and [1, H, W, C] in the file; others are as in the file.
Source: TensorFlow Lite's reference kernels, as documented by the operators of TensorFlow and MLIR's TFL dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from .tflite_custom import CUSTOM_MODULES
from .tflite_file import Graph, Operator

_RELU, _RELU6 = 1, 3
_VALID = 1


class Activated(nn.Module):
    """Applies a fused activation to what `layer` returns. activation: 0 none, 1 ReLU, 3 ReLU6."""

    def __init__(self, layer: nn.Module, activation: int):
        super().__init__()
        if activation not in (0, _RELU, _RELU6):
            raise InputError(f"A TFLite file has the unsupported activation {activation}: use another file.")
        self.layer, self.activation = layer, activation

    def forward(self, *inputs: Tensor) -> Tensor:
        made = self.layer(*inputs)
        if self.activation == _RELU:
            return made.relu_()
        return made.clamp_(0, 6) if self.activation == _RELU6 else made


class Padded(nn.Module):
    """Pads with zeros, then applies `layer`. pads: left, right, top, bottom."""

    def __init__(self, pads: tuple[int, int, int, int], layer: nn.Module):
        super().__init__()
        self.pads, self.layer = pads, layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(pad(x, self.pads))


class Pointwise(nn.Module):
    """A convolution of one pixel, as a product of matrices: twice as fast on one thread of a CPU.

    layer: from the channels of a pixel to others.
    """

    def __init__(self, layer: nn.Linear):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Add(nn.Module):
    """x + y"""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Scale(nn.Module):
    """Multiplies by another tensor, or by a constant of one number or of the shape of `x`, which has no channels."""

    factor: Tensor

    def __init__(self, factor: np.ndarray | None = None):
        super().__init__()
        self.register_buffer("factor", None if factor is None else _torch(factor))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x * (self.factor.to(x) if y is None else y)


class Pad(nn.Module):
    """Pads with zeros. pads: before and after of N, H, W, C, [4, 2]."""

    def __init__(self, pads: np.ndarray):
        super().__init__()
        _, height, width, channels = pads.tolist()
        self.pads = (*width, *height, *channels)

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, self.pads)


class PReLU(nn.Module):
    """x where it is positive, else alpha x. alpha: [1, 1, C]."""

    alpha: Tensor

    def __init__(self, alpha: np.ndarray):
        super().__init__()
        self.register_buffer("alpha", _torch(alpha).flatten())

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.alpha.to(x))


class Resize(nn.Module):
    """Resizes bilinearly with half-pixel centres. size: height, width."""

    def __init__(self, size: np.ndarray):
        super().__init__()
        self.size = tuple(size.tolist())

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, self.size, mode="bilinear", align_corners=False)


class DepthToSpace(nn.Module):
    """Moves channels into blocks of pixels: out[c, b y + i, b x + j] = in[(b i + j) C + c, y, x].

    The order is not that of torch's pixel_shuffle, where the channel is the slowest.
    """

    def __init__(self, block: int):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        _, channels, height, width = x.shape
        b, made = self.block, channels // self.block**2
        blocks = x.reshape(1, b, b, made, height, width).permute(0, 3, 4, 1, 5, 2)
        return blocks.reshape(1, made, height * b, width * b)


class Reshape(nn.Module):
    """Changes the shape in the file's order of dimensions. shape: as in the file."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return from_file_layout(to_file_layout(x).reshape(self.shape))


class Concatenate(nn.Module):
    """Joins tensors of three dimensions along one of them."""

    def __init__(self, axis: int):
        super().__init__()
        self.axis = axis

    def forward(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, self.axis)


class Mean(nn.Module):
    """Averages over all pixels: [1, C, H, W] to [1, C], or to [1, C, 1, 1] if `keep`."""

    def __init__(self, keep: bool):
        super().__init__()
        self.keep = keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keep)


def pad(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Return x [1, C, H, W] with zeros around: left, right, top, bottom, before and after its channels.

    What torch's own pad does, without filling the inside with zeros first.
    """
    left, right, top, bottom, before, after = (*pads, 0, 0)[:6]
    _, channels, height, width = x.shape
    size = (1, before + channels + after, top + height + bottom, left + width + right)
    made = torch.empty(size, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    inner = made[:, before : before + channels, top : top + height, left : left + width]
    inner.copy_(x)
    made[:, :, :top] = made[:, :, top + height :] = 0
    made[..., :left] = made[..., left + width :] = 0
    made[:, :before] = made[:, before + channels :] = 0
    return made


def to_file_layout(x: Tensor) -> Tensor:
    """Return a tensor in the file's order of dimensions: [1, C, H, W] becomes [1, H, W, C]."""
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def from_file_layout(x: Tensor) -> Tensor:
    """Return a tensor in the order of dimensions used here: [1, H, W, C] becomes [1, C, H, W]."""
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the zeros before and after for TensorFlow's padding SAME, of which the larger part is after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def make_module(graph: Graph, operator: Operator) -> nn.Module:
    """Return the module of an operator. It takes those inputs of the operator that are no constants.

    Raises InputError if the operator or one of its options is not supported.
    """
    if operator.code == 32:
        if operator.custom_name == "Convolution2DTransposeBias":
            return _transposed_convolution(graph, operator)
        make: Callable | None = CUSTOM_MODULES.get(operator.custom_name)
        if make is not None:
            return make(operator.custom_options, graph.tensors[operator.outputs[0]].shape)
    elif operator.code in _BUILDERS:
        return _BUILDERS[operator.code](graph, operator)
    raise InputError(
        f"A TFLite file has the unsupported operator {operator.custom_name or operator.code}: use another file."
    )


def _convolution(graph: Graph, operator: Operator) -> nn.Module:
    weight, bias = (_constant(graph, operator, k) for k in (1, 2))
    return _make_convolution(graph, operator, weight.transpose(0, 3, 1, 2), bias, 1, activation=3, dilation=4)


def _depthwise_convolution(graph: Graph, operator: Operator) -> nn.Module:
    weight, bias = (_constant(graph, operator, k) for k in (1, 2))
    _require(operator.option(3) == 1, "a depth multiplier")
    channels = weight.shape[3]
    return _make_convolution(graph, operator, weight.transpose(3, 0, 1, 2), bias, channels, activation=4, dilation=5)


def _make_convolution(
    graph: Graph, operator: Operator, weight: np.ndarray, bias: np.ndarray, groups: int, activation: int, dilation: int
) -> nn.Module:
    """weight: [out, in / groups, height, width]. activation, dilation: numbers of these options."""
    _require(operator.option(dilation, default=1) == operator.option(dilation + 1, default=1) == 1, "dilation")
    kernel, stride = weight.shape[2:], (operator.option(2), operator.option(1))
    pads = _pads(graph, operator, kernel, stride)
    if weight.shape[2:] == (1, 1) and stride == (1, 1) and groups == 1:
        return Activated(Pointwise(_linear(weight[:, :, 0, 0], bias)), operator.option(activation, "b"))
    even = pads[0] == pads[1] and pads[2] == pads[3]
    layer = nn.utils.skip_init(
        nn.Conv2d, weight.shape[1] * groups, weight.shape[0], kernel, stride,
        padding=(pads[2], pads[0]) if even else 0, groups=groups,
    )  # fmt: skip
    layer.weight = nn.Parameter(_torch(weight).contiguous(memory_format=torch.channels_last), requires_grad=False)
    layer.bias = nn.Parameter(_torch(bias), requires_grad=False)
    return Activated(layer if even else Padded(pads, layer), operator.option(activation, "b"))


def _transposed_convolution(graph: Graph, operator: Operator) -> nn.Module:
    """MediaPipe's operator: its options are three int32, padding (1 SAME, 2 VALID) and stride in width and height."""
    weight, bias = (_constant(graph, operator, k) for k in (1, 2))
    _require(len(operator.custom_options) == 12, "a transposed convolution of another version")
    _, *stride = np.frombuffer(operator.custom_options, "<i4").tolist()
    _require(weight.shape[1:3] == (stride[1], stride[0]), "a transposed convolution that overlaps")
    layer = nn.utils.skip_init(nn.ConvTranspose2d, weight.shape[3], weight.shape[0], weight.shape[1:3], stride[::-1])
    layer.weight = nn.Parameter(_torch(weight.transpose(3, 0, 1, 2)), requires_grad=False)
    layer.bias = nn.Parameter(_torch(bias), requires_grad=False)
    return layer


def _pool(kind: type[nn.MaxPool2d] | type[nn.AvgPool2d], graph: Graph, operator: Operator) -> nn.Module:
    kernel, stride = (operator.option(4), operator.option(3)), (operator.option(2), operator.option(1))
    _require(not any(_pads(graph, operator, kernel, stride)), "padded pooling")
    return Activated(kind(kernel, stride), operator.option(5, "b"))


def _fully_connected(graph: Graph, operator: Operator) -> nn.Module:
    weight, bias = (_constant(graph, operator, k) for k in (1, 2))
    return Activated(_linear(weight, bias), operator.option(0, "b"))


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, weight.shape[1], weight.shape[0])
    layer.weight, layer.bias = (nn.Parameter(_torch(values), requires_grad=False) for values in (weight, bias))
    return layer


def _add(graph: Graph, operator: Operator) -> nn.Module:
    _require(all(graph.tensors[k].values is None for k in operator.inputs), "an added constant")
    return Activated(Add(), operator.option(0, "b"))


def _multiply(graph: Graph, operator: Operator) -> nn.Module:
    inputs = (graph.tensors[k].values for k in operator.inputs)
    constants = [values for values in inputs if values is not None]
    _require(all(c.size == 1 or c.ndim < 4 for c in constants), "a factor of channels")
    return Activated(Scale(*constants), operator.option(0, "b"))


def _resize(graph: Graph, operator: Operator) -> nn.Module:
    _require(operator.option(3, "b") == 1 and not operator.option(2, "b"), "resizing without half-pixel centres")
    return Resize(_constant(graph, operator, 1))


def _mean(graph: Graph, operator: Operator) -> nn.Module:
    _require(sorted(_constant(graph, operator, 1).tolist()) == [1, 2], "a mean over other dimensions")
    return Mean(bool(operator.option(0, "b")))


def _concatenate(graph: Graph, operator: Operator) -> nn.Module:
    _require(len(graph.tensors[operator.outputs[0]].shape) == 3, "concatenated maps")
    return Activated(Concatenate(operator.option(0)), operator.option(1, "b"))


def _strided_slice(graph: Graph, operator: Operator) -> nn.Module:
    whole = graph.tensors[operator.inputs[0]].shape == graph.tensors[operator.outputs[0]].shape
    _require(whole and (_constant(graph, operator, 3) == 1).all(), "a slice that leaves something out")
    return nn.Identity()


_BUILDERS: dict[int, Callable[[Graph, Operator], nn.Module]] = {
    0: _add,
    1: partial(_pool, nn.AvgPool2d),
    2: _concatenate,
    3: _convolution,
    4: _depthwise_convolution,
    5: lambda graph, operator: DepthToSpace(operator.option(0)),
    9: _fully_connected,
    14: lambda graph, operator: nn.Sigmoid(),
    17: partial(_pool, nn.MaxPool2d),
    18: _multiply,
    19: lambda graph, operator: nn.ReLU(),
    22: lambda graph, operator: Reshape(graph.tensors[operator.outputs[0]].shape),
    23: _resize,
    34: lambda graph, operator: Pad(_constant(graph, operator, 1)),
    40: _mean,
    45: _strided_slice,
    54: lambda graph, operator: PReLU(_constant(graph, operator, 1)),
    117: lambda graph, operator: nn.Hardswish(),
}


def _pads(graph: Graph, operator: Operator, kernel, stride) -> tuple[int, int, int, int]:
    """Return the zeros left, right, above and below of a convolution or pooling, whose option 0 is its padding."""
    if operator.option(0, "b") == _VALID:
        return 0, 0, 0, 0
    _, height, width, _ = graph.tensors[operator.inputs[0]].shape
    return (*same_padding(width, kernel[1], stride[1]), *same_padding(height, kernel[0], stride[0]))


def _constant(graph: Graph, operator: Operator, number: int) -> np.ndarray:
    values = graph.tensors[operator.inputs[number]].values
    _require(values is not None, f"operator {operator.code} with a computed input {number}")
    assert values is not None
    return values


def _require(supported: bool, what: str) -> None:
    if not supported:
        raise InputError(f"A TFLite file has {what}, which is not supported: use another file.")


def _torch(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, order="C"))  # a copy: the file's bytes are read-only
