"""Stores: where journals are kept.

connect ── from a URL to a store
rows ── the rows, and the little that a place of storage must provide ── memory, sqlite (tables, schema)
base ── the rules every store keeps ── chain (hashes, MACs), leases (owners), integrity (verify)
place, keyfile, locks, faults, packing ── directory and URL, key, file lock, SQLite's errors, compression
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jupyter_durable.clock import Clock, SystemClock

if TYPE_CHECKING:
    from jupyter_durable.journal.ports import JournalStore

__all__ = ["connect"]


def connect(url: str | os.PathLike[str] | None = None, *, clock: Clock | None = None) -> JournalStore:
    """Open the store that `url` names, making it if it is not there.

    `None` means the environment's `JUPYTER_DURABLE_STORE`, else `<jupyter data dir>/durable/journal.db`;
    otherwise a path, `sqlite:///<path>`, or `memory:` for one that ends with the process.

    Raises `StoreError` (unknown URL, not writable, newer schema) or `IntegrityError` (damaged, or
    its key is missing or another's).

    >>> connect("memory:").url
    'memory:'
    """
    # Imported here: `import jupyter_durable` needs neither SQLite nor these modules.
    from jupyter_durable.store.place import resolve

    path = resolve(url)
    clock = clock or SystemClock()
    if path is None:
        from jupyter_durable.store.memory import MemoryStore

        return MemoryStore(clock=clock)
    from jupyter_durable.store.sqlite import SqliteStore

    return SqliteStore(path, clock=clock)
