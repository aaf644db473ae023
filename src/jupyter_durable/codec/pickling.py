"""What no kind can keep: cloudpickle, with the notebook's definitions by name and secrets sealed.

Only bytes whose signature was verified ever get to `load`.
"""

from __future__ import annotations

import enum
import io
import pickle
import types
from collections.abc import Callable
from typing import Any

from jupyter_durable.codec.names import Namespace, name_of, named
from jupyter_durable.codec.objects import same
from jupyter_durable.codec.plain import ATOMS, short

_SHARED = (
    str,
    bytes,
    int,
    float,
    complex,
    tuple,
    frozenset,
    type,
    enum.Enum,
    types.ModuleType,
    types.FunctionType,
)


class Pickled:
    """`data`, its out-of-band `buffers`, and the ids of the mutable objects inside."""

    __slots__ = ("buffers", "data", "ids")

    def __init__(self, data: bytes, buffers: list[Any], ids: set[int]) -> None:
        self.data = data
        self.buffers = buffers
        self.ids = ids


def dump(value: Any, namespace: Namespace, seal: Callable[[Any], bytes | None]) -> Pickled:
    """Pickle `value` and check that it comes back. `seal` gives the sealed form of a secret, else None.

    Raises whatever pickling raises, or `ValueError` if what comes back is something else.
    """
    import cloudpickle

    ids: set[int] = set()
    buffers: list[Any] = []
    sealed: dict[bytes, Any] = {}

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, item: Any) -> Any:
            if isinstance(item, type | types.FunctionType) and item.__module__ == "__main__":
                name = name_of(item, namespace)
                return None if name is None else ("name", name)
            secret = seal(item)
            if secret is not None:
                sealed[secret] = item
                return ("sealed", secret)
            if item is not None and not isinstance(item, _SHARED):
                ids.add(id(item))
            return None

    def keep(buffer: pickle.PickleBuffer) -> None:
        raw = buffer.raw()
        buffers.append(bytes(raw) if raw.readonly else bytearray(raw))

    file = io.BytesIO()
    Pickler(file, protocol=5, buffer_callback=keep).dump(value)
    data = file.getvalue()
    back = load(data, buffers, namespace, sealed.__getitem__)
    if not same(value, back):
        raise ValueError("it does not come back equal")
    return Pickled(data, buffers, ids)


def load(data: bytes, buffers: list[Any], namespace: Namespace, unseal: Callable[[bytes], Any]) -> Any:
    """The value. The caller has verified the signature of `data` and `buffers`."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            kind, name = pid
            return named(name, namespace) if kind == "name" else unseal(name)

    return Unpickler(io.BytesIO(data), buffers=buffers).load()


def blame(value: Any, depth: int = 0) -> tuple[Any, list[str]]:
    """The innermost attribute or item that pickle refuses, and the way to it."""
    import cloudpickle

    if depth < 6:
        inside: list[tuple[str, Any]]
        if isinstance(value, dict):
            inside = [(f"[{short(key)}]", item) for key, item in value.items()]
        elif isinstance(value, list | tuple):
            inside = [(f"[{n}]", item) for n, item in enumerate(value)]
        else:
            inside = [(f".{name}", item) for name, item in getattr(value, "__dict__", {}).items()]
        for step, item in inside[:1000]:
            if type(item) in ATOMS:
                continue
            try:
                cloudpickle.dumps(item)
            except Exception:  # noqa: BLE001 - the question is only whether it does
                blamed, path = blame(item, depth + 1)
                return blamed, [step, *path]
    return value, []
