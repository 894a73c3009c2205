"""Read TFLite files: operators, tensors and weights, with float16 and sparse weights made float32.

Source: TensorFlow Lite's schema (schema.fbs, version 3).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import numpy as np

from ...errors import InputError
from .flatbuffers import Table

DEQUANTIZE, DENSIFY = 6, 124
_DTYPES = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 2: np.dtype("<i4")}
_DENSE = 0


@dataclass(frozen=True)
class Tensor:
    """shape: of the whole tensor. values: a constant's, None if the tensor is computed or a sparse constant's entries
    have not been distributed; sparsity: the latter's table.
    """

    shape: tuple[int, ...]
    values: np.ndarray | None = None
    sparsity: Table | None = None


@dataclass(frozen=True)
class Operator:
    """code: BuiltinOperator of the schema. custom_name, custom_options: of a custom operator (code 32).

    inputs, outputs: numbers of tensors. options: the operator's table of options; None if it has none.
    """

    code: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None = None
    custom_name: str = ""
    custom_options: bytes = b""

    def option(self, field: int, kind: str = "i", default: int = 0) -> int:
        """Return an option by its number. kind: format character of the module struct."""
        return default if self.options is None else self.options.scalar(field, kind, default)


@dataclass(frozen=True)
class Graph:
    """tensors: by number; inputs, outputs: numbers of tensors; operators: in an order in which they can run."""

    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[Operator, ...]


def read_graph(data: bytes) -> Graph:
    """Return the graph of a TFLite file as it is stored. Raises InputError if it is damaged or unsupported."""
    if data[4:8] != b"TFL3":
        raise InputError("This is no TFLite file of version 3: give one.")
    try:
        model = Table.root(data)
        buffers = model.tables(4)
        (subgraph,) = model.tables(2)
        codes = [(max(t.scalar(0, "b"), t.scalar(3, "i")), t.text(1)) for t in model.tables(1)]
        return Graph(
            tuple(_tensor(table, buffers) for table in subgraph.tables(0)),
            _integers(subgraph, 1),
            _integers(subgraph, 2),
            tuple(_operator(table, codes) for table in subgraph.tables(3)),
        )
    except (struct.error, IndexError, KeyError, ValueError) as error:
        raise InputError(f"A TFLite file is damaged or of an unsupported kind ({error}): download it again.") from error


def fold_weights(graph: Graph) -> Graph:
    """Return the graph with constants for the outputs of DENSIFY and DEQUANTIZE, which then are left out."""
    tensors, operators = list(graph.tensors), []
    for operator in graph.operators:
        if operator.code not in (DENSIFY, DEQUANTIZE):
            operators.append(operator)
            continue
        source = tensors[operator.inputs[0]]
        if source.values is None:
            raise InputError("A TFLite file dequantizes a tensor that is no constant: use another file.")
        values = densify(source) if operator.code == DENSIFY else source.values.astype(np.float32)
        tensors[operator.outputs[0]] = Tensor(source.shape, values)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def densify(tensor: Tensor) -> np.ndarray:
    """Return the values of a sparse tensor in its shape. Only its last dimension may be compressed.

    Raises InputError for another kind of sparsity.
    """
    sparsity = tensor.sparsity
    assert sparsity is not None and tensor.values is not None
    order, dimensions = _integers(sparsity, 0), sparsity.tables(2)
    formats = [dimension.scalar(0, "b") for dimension in dimensions]
    rank = len(tensor.shape)
    if order != tuple(range(rank)) or len(sparsity.numbers(1, "<i4")) or formats != [_DENSE] * (rank - 1) + [1]:
        raise InputError("A TFLite file has a tensor of an unsupported sparsity: use another file.")
    segments = dimensions[-1].tagged_numbers(2, 3).astype(np.int64)
    indices = dimensions[-1].tagged_numbers(4, 5)
    dense = np.zeros((len(segments) - 1, tensor.shape[-1]), tensor.values.dtype)
    dense[np.repeat(np.arange(len(dense)), np.diff(segments)), indices] = tensor.values
    return dense.reshape(tensor.shape)


def _tensor(table: Table, buffers: list[Table]) -> Tensor:
    shape, sparsity = _integers(table, 0), table.table(6)
    stored = buffers[table.scalar(2, "I")].numbers(0, "u1")
    if not len(stored):
        return Tensor(shape)
    values = stored.view(_DTYPES[table.scalar(1, "b")])
    return Tensor(shape, values if sparsity else values.reshape(shape), sparsity)


def _operator(table: Table, codes: list[tuple[int, str]]) -> Operator:
    code, name = codes[table.scalar(0, "I")]
    custom = table.numbers(5, "u1").tobytes()
    return Operator(code, _integers(table, 1), _integers(table, 2), table.table(4), name, custom)


def _integers(table: Table, field: int) -> tuple[int, ...]:
    return tuple(table.numbers(field, "<i4").tolist())
