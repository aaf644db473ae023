"""What a snapshot of the namespace is: plain data and one pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jupyter_durable.errors import DurableError

_FORMAT = 1

EMPTY: Mapping[str, type[Any]] = {"[]": list, "{}": dict, "set()": set}
"""What stands for a container until its record is read: decorators may write into it before."""


class Item(NamedTuple):
    """How one captured name comes back.

    kind: `import` and `definition` are executed; `statement` made something that cannot be stored and is
    known to be harmless to execute again; `value` is the next record of the blob, `size` bytes long
    (its `source`, a key of `EMPTY`, makes a stand-in if it is a container).
    """

    kind: Literal["import", "definition", "statement", "value"]
    name: str
    source: str = ""
    size: int = 0


@dataclass(frozen=True)
class Snapshot:
    """The values a cell needs from the namespace, captured when its run began.

    items: in the order in which restoring them works. blob: a pickle of the values; load it only after
    the journal that holds it was verified. inputs: digest (hex) of each value, by name. missing: why a
    needed name could not be captured and what to do, by name. absent: needed names that nothing had
    bound. paths: directories of the user's own modules. python: the version, as `3.11`.
    """

    items: tuple[Item, ...] = ()
    blob: bytes = field(default=b"", repr=False)
    inputs: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    python: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Every captured name: what `overwrite=` takes to make the namespace what it was then."""
        return (*(item.name for item in self.items), *self.absent)

    @property
    def state(self) -> tuple[str, ...]:
        """The names whose values a run may change: what to `fingerprint` when it stops."""
        return (*self.inputs, *self.absent)

    @property
    def size(self) -> int:
        """Bytes it takes to store, before compression."""
        return len(self.blob) + sum(len(item.source) for item in self.items)

    def to_value(self) -> dict[str, Any]:
        """JSON types and one `bytes`, for the codec."""
        return {
            "format": _FORMAT,
            "python": self.python,
            "items": [list(item) for item in self.items],
            "blob": self.blob,
            "inputs": dict(self.inputs),
            "missing": dict(self.missing),
            "absent": list(self.absent),
            "paths": list(self.paths),
        }

    @classmethod
    def from_value(cls, value: Mapping[str, Any]) -> Snapshot:
        """The snapshot `to_value` came from. Raises `DurableError` for one of a newer version."""
        if value.get("format") != _FORMAT:
            raise DurableError(
                f"this snapshot has format {value.get('format')}, and this version reads {_FORMAT}",
                hint="pip install --upgrade jupyter-durable",
            )
        return cls(
            tuple(Item(*item) for item in value["items"]),
            value["blob"],
            dict(value["inputs"]),
            dict(value["missing"]),
            tuple(value["absent"]),
            tuple(value["paths"]),
            value["python"],
        )
