"""pandas and polars through Arrow IPC, kept only if the frame that comes back is the same; else pickled.

Arrow has no place for everything pandas does (mixed object columns, duplicate names, an index's
`freq`), so every frame is read back when it is written and compared.
"""

from __future__ import annotations

import io
import sys
from typing import Any

from jupyter_durable.codec.kinds import Kind, Raw, RawParts, register

_SERIES = "__series__"


def _same_axis(a: Any, b: Any) -> bool:
    return (
        type(a) is type(b)
        and a.dtype == b.dtype
        and list(a.names) == list(b.names)
        and getattr(a, "freq", None) == getattr(b, "freq", None)
        and bool(a.equals(b))
    )


def _same_frame(a: Any, b: Any) -> bool:
    if (
        list(a.dtypes) != list(b.dtypes)
        or not _same_axis(a.index, b.index)
        or not _same_axis(a.columns, b.columns)
    ):
        return False
    for n, dtype in enumerate(a.dtypes):
        if dtype.kind == "O" and [type(x) for x in a.iloc[:, n]] != [type(x) for x in b.iloc[:, n]]:
            return False
    return bool(a.equals(b))


def _split_pandas(value: Any) -> Any:
    import pandas as pd

    try:
        import pyarrow as pa
    except ImportError:
        return None
    series = type(value) is pd.Series
    frame = value.to_frame(_SERIES) if series else value
    if len({type(label) for label in frame.columns}) > 1:
        return None  # Arrow would warn, and make them all text
    try:
        table = pa.Table.from_pandas(frame, preserve_index=None)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        buffer = sink.getvalue()
        if not _same_frame(frame, _read_pandas(buffer)):
            return None
    except Exception:  # noqa: BLE001 - whatever Arrow cannot do, pickle can
        return None
    parts: dict[str, Any] = {"b": Raw(memoryview(buffer), scan="packed")}
    if value.attrs:
        parts["attrs"] = value.attrs
    if series:
        parts["name"] = value.name
    return parts


def _read_pandas(buffer: Any) -> Any:
    import pyarrow as pa

    with pa.ipc.open_stream(buffer) as reader:
        return reader.read_pandas()


def _join_pandas(parts: dict[str, Any]) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise ModuleNotFoundError(
            "a pandas frame is stored as Arrow data: pip install 'jupyter-durable[arrow]'"
        ) from error
    raw: RawParts = parts["b"]
    value = _read_pandas(pa.py_buffer(raw.join()))
    if "name" in parts:
        value = value[_SERIES].rename(parts["name"])
    value.attrs = dict(parts.get("attrs", {}))
    return value


def _split_scalar(value: Any) -> Any:
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return ["NaT" if value is pd.NaT else "NA"]
    if type(value) is pd.Timestamp:
        zone = value.tzinfo
        moment = value.tz_convert("UTC").tz_localize(None) if zone is not None else value
        return ["Timestamp", int(moment.asm8.astype("i8")), value.unit, zone]
    return ["Timedelta", int(value.asm8.astype("i8")), value.unit]


def _join_scalar(parts: list[Any]) -> Any:
    import numpy as np
    import pandas as pd

    match parts:
        case ["NaT"]:
            return pd.NaT
        case ["NA"]:
            return pd.NA
        case ["Timestamp", number, unit, zone]:
            moment = pd.Timestamp(np.datetime64(number, unit))
            return moment if zone is None else moment.tz_localize("UTC").tz_convert(zone)
        case [_, number, unit]:
            return pd.Timedelta(np.timedelta64(number, unit))


def _split_polars(value: Any) -> Any:
    import polars as pl

    series = type(value) is pl.Series
    frame = value.to_frame() if series else value
    try:
        buffer = frame.write_ipc(None).getvalue()
        back = pl.read_ipc(io.BytesIO(buffer))
        if back.schema != frame.schema or not back.equals(frame, null_equal=True):
            return None
    except BaseException as error:
        if not isinstance(error, Exception) and "Panic" not in type(error).__name__:
            raise  # polars panics are BaseExceptions, but so is KeyboardInterrupt
        return None
    return {"b": Raw(buffer, scan="packed"), "series": series}


def _join_polars(parts: dict[str, Any]) -> Any:
    import polars as pl

    frame = pl.read_ipc(io.BytesIO(parts["b"].join()))
    return frame.to_series() if parts["series"] else frame


PANDAS = Kind("pandas", _split_pandas, _join_pandas, tracked=True, canonical=False)
PANDAS_SCALAR = Kind("pandas.scalar", _split_scalar, _join_scalar)
POLARS = Kind("polars", _split_polars, _join_polars, canonical=False)
for _kind in (PANDAS, PANDAS_SCALAR, POLARS):
    register(_kind)


def find(cls: type) -> Kind | None:
    """The kind of values of `cls`."""
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    if pandas is not None:
        if cls is pandas.DataFrame or cls is pandas.Series:
            return PANDAS
        if cls in (pandas.Timestamp, pandas.Timedelta, type(pandas.NaT), type(pandas.NA)):
            return PANDAS_SCALAR
    if polars is not None and (cls is polars.DataFrame or cls is polars.Series):
        return POLARS
    return None
