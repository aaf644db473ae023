"""numpy: arrays as dtype, shape, order and bytes; scalars; arrays of objects as the objects."""

from __future__ import annotations

from typing import Any

import numpy as np

from jupyter_durable.codec.kinds import Kind, Plain, Raw, RawParts, register


def _descr(dtype: Any) -> Any:
    """The dtype as data; None if it cannot be made again from that."""
    if dtype.hasobject or dtype.kind == "T":
        return None
    descr = np.lib.format.dtype_to_descr(dtype)
    return descr if np.lib.format.descr_to_dtype(descr) == dtype else None


def _split(value: Any) -> Any:
    if value.dtype == object:
        return (
            None
            if value.dtype.names
            else {"o": Plain([value.item(n) for n in range(value.size)]), "s": Plain(list(value.shape))}
        )
    descr = _descr(value.dtype)
    if descr is None:
        return None
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    flat = value.T if fortran else np.ascontiguousarray(value).reshape(value.shape)
    owned = flat is not value and not np.shares_memory(flat, value)
    parts = {
        "t": descr,
        "s": Plain(list(value.shape)),
        "b": Raw(
            flat.reshape(-1).view(np.uint8) if value.size and value.itemsize else b"",
            owned,
            scan="packed" if value.dtype.kind in "SUV" else "",
        ),
    }
    if fortran:
        parts["f"] = True
    if not value.flags.writeable:
        parts["r"] = True
    return parts


def _join(parts: dict[str, Any]) -> Any:
    shape = tuple(parts["s"])
    if "o" in parts:
        array = np.empty(shape, dtype=object)
        for n, item in enumerate(parts["o"]):
            array.flat[n] = item  # one at a time: numpy would unpack items that are sequences
        return array
    raw: RawParts = parts["b"]
    array = np.empty(shape, np.lib.format.descr_to_dtype(parts["t"]), order="F" if "f" in parts else "C")
    if array.size and array.itemsize:
        flat = array.T if "f" in parts else array
        raw.fill(memoryview(flat.reshape(-1).view(np.uint8)))
    if "r" in parts:
        array.flags.writeable = False
    return array


def _split_scalar(value: Any) -> Any:
    if isinstance(value, np.str_ | np.bytes_):
        text: Any = value
        return [value.dtype.kind, (str if value.dtype.kind == "U" else bytes)(text)]  # item() cuts NULs
    descr = _descr(value.dtype)
    return None if descr is None else [descr, value.tobytes()]


def _join_scalar(parts: list[Any]) -> Any:
    descr, data = parts
    if descr in ("U", "S"):
        return (np.str_ if descr == "U" else np.bytes_)(data)
    return np.frombuffer(data, np.lib.format.descr_to_dtype(descr))[0].copy()


ARRAY = Kind("nd", _split, _join, tracked=True)
SCALAR = Kind("npscalar", _split_scalar, _join_scalar)
register(ARRAY, np.ndarray)
register(SCALAR)


def find(cls: type) -> Kind | None:
    """The kind of values of `cls`: exact arrays and scalars; matrices, masked and record arrays are pickled."""
    if cls is np.ndarray:
        return ARRAY
    return SCALAR if issubclass(cls, np.generic) and cls.__module__ == "numpy" else None
