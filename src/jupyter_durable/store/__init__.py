"""Stores: where journals are kept.

connect   from a URL to a store
base      the rules every store keeps, over rows that a place of storage provides
├── rows ── the rows · chain ── hashes and MACs · packing ── compression · drafting ── drafts to rows
└── lineage ── reading, verified · integrity ── `verify` · leases ── owners, dead or alive
memory    the rows in this process
sqlite    the rows in a file
├── tables ── the SQL · schema ── migrations · log ── transactions and syncs
└── place ── directory, file system · keyfile ── the key · locks ── the file lock · faults ── errors
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
