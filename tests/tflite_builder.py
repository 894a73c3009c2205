"""Writes TFLite files, flatbuffers and flexbuffers for tests, from the formats' documents."""

import struct

import numpy as np

SAME, VALID = 0, 1
CONV, DEPTHWISE, ADD, MUL, PAD, POOL, PRELU, RELU, RESIZE, DEPTH_TO_SPACE = 3, 4, 0, 18, 34, 17, 54, 19, 23, 5
RESHAPE, CONCAT, MEAN, DENSE, LOGISTIC, SLICE, CUSTOM, DEQUANTIZE, DENSIFY = 22, 2, 40, 9, 14, 45, 32, 6, 124
AVERAGE_POOL, HARD_SWISH = 1, 117
_TYPES = {"float32": 0, "float16": 1, "int32": 2}


class Writer:
    """A flatbuffer. Tables are dicts from field numbers to values: (kind, number), dict, list of dicts, array, str."""

    def __init__(self, root: dict):
        self.data = bytearray(b"\0\0\0\0TFL3")
        struct.pack_into("<I", self.data, 0, self.table(root))

    def table(self, fields: dict) -> int:
        places = dict(zip(fields, range(4, 4 + 8 * len(fields), 8)))
        vtable = len(self.data)
        numbers = [places.get(k, 0) for k in range(max(fields, default=-1) + 1)]
        self.data += struct.pack(f"<HH{len(numbers)}H", 4 + 2 * len(numbers), 4 + 8 * len(fields), *numbers)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(8 * len(fields))
        for field, value in fields.items():
            place = start + places[field]
            if isinstance(value, tuple):
                struct.pack_into("<" + value[0], self.data, place, value[1])
            else:
                struct.pack_into("<I", self.data, place, self.child(value) - place)
        return start

    def child(self, value) -> int:
        if isinstance(value, dict):
            return self.table(value)
        start = len(self.data)
        if isinstance(value, list):
            self.data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            for k, entry in enumerate(value):
                place = start + 4 + 4 * k
                struct.pack_into("<I", self.data, place, self.table(entry) - place)
            return start
        array = np.frombuffer(value.encode(), "u1") if isinstance(value, str) else np.asarray(value)
        self.data += struct.pack("<I", len(array)) + array.tobytes()
        return start


def ints(*values) -> np.ndarray:
    return np.array(values, "<i4")


def options(**fields) -> dict:
    """options(b0=1, i1=2): field 0 is an int8, field 1 an int32."""
    return {int(name[1:]): (name[0], value) for name, value in fields.items()}


def sparsity(shape, segments, indices, kind=3, order=None, block=None) -> dict:
    """Of a tensor whose last dimension is compressed. kind: 1 int32, 2 uint16, 3 uint8."""
    dtype = {1: "<i4", 2: "<u2", 3: "u1"}[kind]
    dense = [{0: ("b", 0), 1: ("i", size)} for size in shape[:-1]]
    tables = {3: {0: np.array(segments, dtype)}, 5: {0: np.array(indices, dtype)}}
    last = {0: ("b", 1), 2: ("b", kind), 4: ("b", kind), **tables}
    rest = {} if block is None else {1: ints(*block)}
    return {0: ints(*(order or range(len(shape)))), 2: [*dense, last], **rest}


def tflite(tensors, operators, inputs, outputs) -> bytes:
    """Return a file. tensors: shapes of computed ones, arrays of constants, or (shape, values, sparsity).

    operators: (code, inputs, outputs, options or (custom name, bytes)).
    """
    buffers, rows = [{}], []
    for tensor in tensors:
        if isinstance(tensor, np.ndarray):
            shape, values, sparse = tensor.shape, tensor, None
        else:
            shape, values, sparse = tensor if isinstance(tensor[0], tuple) else (tensor, None, None)
        row = {0: ints(*shape)}
        if values is not None:
            row |= {1: ("b", _TYPES[values.dtype.name]), 2: ("I", len(buffers))}
            buffers.append({0: np.frombuffer(values.tobytes(), "u1")})
        rows.append(row | ({6: sparse} if sparse else {}))
    codes, calls = [], []
    for code, taken, made, how in operators:
        name, custom = how if isinstance(how, tuple) else ("", b"")
        codes.append({0: ("b", min(code, 127)), 3: ("i", code)} | ({1: name} if name else {}))
        call = {0: ("I", len(codes) - 1), 1: ints(*taken), 2: ints(*made)}
        calls.append(call | ({4: how} if isinstance(how, dict) else {5: np.frombuffer(custom, "u1")} if custom else {}))
    graph = {0: rows, 1: ints(*inputs), 2: ints(*outputs), 3: calls}
    return bytes(Writer({0: ("I", 3), 1: codes, 2: [graph], 4: buffers}).data)


def flexbuffer(values: dict) -> bytes:
    """Return a flexbuffer map of ints, floats and lists of ints, all of four bytes."""
    data, keys, targets = bytearray(), [], {}
    names = sorted(values)
    for name in names:
        keys.append(len(data))
        data += name.encode() + b"\0"
    for name in names:
        if isinstance(values[name], list):
            data += struct.pack("<i", len(values[name]))
            targets[name] = len(data)
            data += struct.pack(f"<{len(values[name])}i", *values[name])
    data += struct.pack("<i", len(names))
    key_vector = len(data)
    for key in keys:
        data += struct.pack("<I", len(data) - key)
    data += struct.pack("<III", len(data) - key_vector, 4, len(names))
    start, kinds = len(data), []
    for name in names:
        value = values[name]
        kinds.append((11 if isinstance(value, list) else 3 if isinstance(value, float) else 1) << 2 | 2)
        packed = (
            ("<I", len(data) - targets[name])
            if isinstance(value, list)
            else ("<f" if isinstance(value, float) else "<i", value)
        )
        data += struct.pack(*packed)
    data += bytes(kinds)
    return bytes(data + struct.pack("<I", len(data) - start) + bytes([9 << 2 | 2, 4]))
