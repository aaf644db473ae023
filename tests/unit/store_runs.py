"""What a test of the SQLite store begins with: a key, an owner, a run with a lease, a draft."""

from __future__ import annotations

from jupyter_durable.codec.secret import StoreKey
from jupyter_durable.model import Draft, Lease, Owner, Payload, RunRecord
from jupyter_durable.store.sqlite import SqliteStore

KEY = StoreKey(bytes(range(32)))
ME = Owner("somewhere", 1, 2.0, "test")


def begin(store: SqliteStore, run_id: str = "1") -> Lease:
    """A run with a lease that lasts."""
    return store.create_run(RunRecord(run_id, "research", "running", 1.0, 1.0), ME, 3600.0)


def step(body: bytes = b"{}", **meta: object) -> Draft:
    """A draft with this body."""
    return Draft("outcome", 1, 0, meta, Payload("json", body))
