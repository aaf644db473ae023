"""What the store tests share: a clock moved by hand, owners, and the two stores side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.journal.ports import JournalStore
from jupyter_durable.model import Chunk, Draft, Owner, Payload, RunRecord
from jupyter_durable.store.memory import MemoryStore
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))
ELSEWHERE = Owner("other-host", 4711, 1000.0, "kernel on another machine")
"""Nobody here can tell whether it is alive, so its lease ends by expiry only."""
SECOND = Owner("other-host", 4712, 1001.0, "a second kernel there")


class HandClock:
    """Time that moves when told to."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def wait(self, seconds: float) -> None:
        self.at += seconds


def open_store(kind: str, directory: Path, clock: HandClock) -> JournalStore:
    """A new, empty store of this kind."""
    if kind == "memory":
        return MemoryStore(key=KEY, clock=clock)
    return SqliteStore(directory / "journal.db", key=KEY, clock=clock, wal_bytes=1 << 18)


def record(run_id: str, **fields: Any) -> RunRecord:
    """A run as the runtime makes one."""
    given: dict[str, Any] = {"name": "research", "status": "running", "created_at": 10.0, "updated_at": 11.0}
    return RunRecord(id=run_id, **(given | fields))


def chunk(data: bytes, *refs: bytes) -> Chunk:
    """A chunk with its digest."""
    return Chunk(KEY.mac("blob", data, *refs), data, refs)


def start(pos: int, body: bytes = b"[]", **meta: Any) -> Draft:
    """A draft of a step's start."""
    return Draft("start", 1, pos, {"name": "fetch", **meta}, Payload("json", body))
