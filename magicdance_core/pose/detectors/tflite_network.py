"""A TFLite file's graph as a torch module."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .tflite_file import fold_weights, read_graph
from .tflite_operators import from_file_layout, make_module, to_file_layout


class TFLiteNetwork(nn.Module):
    """Runs the graph of a TFLite file with one input, in float32.

    data: the file's bytes. outputs: which of the file's outputs are wanted, by their position there (default: all);
    operators that only others need are left out.
    Raises InputError if the file is damaged or has an unsupported operator.
    """

    def __init__(self, data: bytes, outputs: Sequence[int] | None = None):
        super().__init__()
        graph = fold_weights(read_graph(data))
        (self.input,) = graph.inputs
        self.outputs = [graph.outputs[k] for k in outputs] if outputs is not None else list(graph.outputs)
        self.input_shape = graph.tensors[self.input].shape
        wanted, kept = set(self.outputs), []
        for operator in reversed(graph.operators):
            if wanted.intersection(operator.outputs):
                wanted.update(operator.inputs)
                kept.append(operator)
        kept.reverse()
        self.operators = nn.ModuleList(make_module(graph, operator) for operator in kept)
        # Of each operator: the tensors that it takes, the one that it makes, and those that nobody needs after it.
        self.routes: list[tuple[list[int], int, list[int]]] = []
        last_use = {tensor: number for number, operator in enumerate(kept) for tensor in operator.inputs}
        for number, operator in enumerate(kept):
            taken = [tensor for tensor in operator.inputs if graph.tensors[tensor].values is None]
            spent = {tensor for tensor in taken if last_use[tensor] == number} - set(self.outputs)
            self.routes.append((taken, operator.outputs[0], sorted(spent)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the wanted outputs for an input; shapes are the file's, pixels are [1, H, W, C]."""
        values = {self.input: from_file_layout(x)}
        for operator, (taken, made, spent) in zip(self.operators, self.routes):
            values[made] = operator(*(values[tensor] for tensor in taken))
            for tensor in spent:
                del values[tensor]
        return [to_file_layout(values[tensor]) for tensor in self.outputs]
