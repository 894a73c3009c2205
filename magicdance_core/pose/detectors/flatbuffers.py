"""Read the two binary formats inside TFLite files: flatbuffers and flexbuffers.

Source: the formats' own documents, "FlatBuffer internals" and "FlexBuffers" (flatbuffers.dev).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

_VALUES_DTYPES = {1: np.dtype("<i4"), 2: np.dtype("<u2"), 3: np.dtype("u1")}


@dataclass(frozen=True)
class Table:
    """A table of a flatbuffer, little endian, at a position of `data`. Fields are read by number and may be absent.

    Reading beyond the end of the data raises struct.error.
    """

    data: bytes
    position: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Return the root table of a flatbuffer."""
        return cls(data, _unpack(data, "I", 0))

    def scalar(self, field: int, kind: str, default: float = 0):
        """Return a number. kind: its format character of the module struct."""
        place = self._place(field)
        return default if place is None else _unpack(self.data, kind, place)

    def table(self, field: int) -> Table | None:
        """Return a table, None if the field is absent."""
        place = self._target(field)
        return None if place is None else Table(self.data, place)

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables, empty if the field is absent."""
        places = self._vector(field, 4)
        return [Table(self.data, place + _unpack(self.data, "I", place)) for place in places]

    def numbers(self, field: int, dtype: str | np.dtype) -> np.ndarray:
        """Return a vector of numbers as a read-only array, empty if the field is absent."""
        dtype = np.dtype(dtype)
        places = self._vector(field, dtype.itemsize)
        if places.stop > len(self.data):
            raise struct.error("a vector reaches beyond the end of the data")
        return np.frombuffer(self.data, dtype, len(places), places.start) if places else np.zeros(0, dtype)

    def text(self, field: int) -> str:
        """Return a string, empty if the field is absent."""
        return self.numbers(field, "u1").tobytes().decode()

    def tagged_numbers(self, tag_field: int, field: int) -> np.ndarray:
        """Return the vector of a union of Int32Vector (tag 1), Uint16Vector (2) and Uint8Vector (3)."""
        vector, tag = self.table(field), self.scalar(tag_field, "b")
        if vector is None or tag not in _VALUES_DTYPES:
            raise struct.error(f"a vector of the unknown kind {tag}")
        return vector.numbers(0, _VALUES_DTYPES[tag])

    def _place(self, field: int) -> int | None:
        """Return where a field's value is, None if it is absent."""
        vtable = self.position - _unpack(self.data, "i", self.position)
        entry = 4 + 2 * field
        if entry >= _unpack(self.data, "H", vtable):
            return None
        offset = _unpack(self.data, "H", vtable + entry)
        return self.position + offset if offset else None

    def _target(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + _unpack(self.data, "I", place)

    def _vector(self, field: int, size: int) -> range:
        """Return the positions of a vector's elements of `size` bytes."""
        place = self._target(field)
        if place is None:
            return range(0)
        start = place + 4
        return range(start, start + size * _unpack(self.data, "I", place), size)


def flexbuffer_map(data: bytes) -> dict[str, int | float | list[int]]:
    """Return the map that is a flexbuffer's root. Its values are integers, floats, and vectors of integers.

    Raises struct.error for values of other types.
    """
    width = data[-1]
    root = len(data) - 2 - width
    if data[-2] >> 2 != 9:
        raise struct.error("the root of a flexbuffer is no map")
    start, width = _indirect(data, root, width), 1 << (data[-2] & 3)
    count = _unsigned(data, start - width, width)
    keys = _indirect(data, start - 3 * width, width)
    key_width = _unsigned(data, start - 2 * width, width)
    found = {}
    for k in range(count):
        key = _indirect(data, keys + k * key_width, key_width)
        name = data[key : data.index(0, key)].decode()
        found[name] = _flexbuffer_value(data, start + k * width, width, data[start + count * width + k])
    return found


def _flexbuffer_value(data: bytes, place: int, width: int, packed: int) -> int | float | list[int]:
    kind, inner = packed >> 2, 1 << (packed & 3)
    if kind == 1:
        return _unpack(data, {1: "b", 2: "h", 4: "i", 8: "q"}[width], place)
    if kind == 3:
        return _unpack(data, {2: "e", 4: "f", 8: "d"}[width], place)
    if kind == 11:
        start = _indirect(data, place, width)
        count = _unsigned(data, start - inner, inner)
        return [_unpack(data, {1: "b", 2: "h", 4: "i", 8: "q"}[inner], start + k * inner) for k in range(count)]
    raise struct.error(f"a flexbuffer's value of the unknown type {kind}")


def _indirect(data: bytes, place: int, width: int) -> int:
    """Return what the unsigned backward offset at a place points to."""
    return place - _unsigned(data, place, width)


def _unsigned(data: bytes, place: int, width: int) -> int:
    return _unpack(data, {1: "B", 2: "H", 4: "I", 8: "Q"}[width], place)


def _unpack(data: bytes, kind: str, place: int):
    if place < 0:
        raise struct.error("an offset leads before the start of the data")
    return struct.unpack_from("<" + kind, data, place)[0]
