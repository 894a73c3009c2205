"""Writes ONNX networks whose outputs are known, for tests of what runs them."""

import numpy as np
import pytest


def write_network(path, shape, *outputs):
    """Write an ONNX file that takes pictures of `shape` and returns constant `outputs`."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    names = [f"answer{k}" for k in range(len(outputs))]
    nodes = [helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0)]
    nodes += [helper.make_node("Mul", ["mean", "zero"], ["nothing"])]
    nodes += [helper.make_node("Add", [f"{name} constant", "nothing"], [name]) for name in names]
    constants = {"zero": np.zeros((), np.float32)} | dict(zip([f"{name} constant" for name in names], outputs))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, o.shape) for name, o in zip(names, outputs)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
