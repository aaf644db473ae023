"""Snapshots of the namespace: what a durable cell needs, captured when its run begins.

    capture ──> Snapshot ──> restore          in a fresh kernel, or to go back to "as it was then"
    fingerprint ──> reset_names               which names a stopped run left, and nobody has touched since
    inputs_of ──> differing                   whether a run's inputs are what they were

Imports and definitions are captured as source, data as one pickle that refers to them by name, clients
and locks as the statement that made them (only if it is known to be harmless), and what is left is
named in `missing`. Nothing a cell binds before it reads it is captured.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_durable.kernel.names import Transform, needs, parse
from jupyter_durable.kernel.reach import Reached, reach
from jupyter_durable.kernel.restore import Restored, restore, shell_executor
from jupyter_durable.kernel.sifting import Sieve
from jupyter_durable.kernel.snapshot import Snapshot
from jupyter_durable.kernel.state import ABSENT, lookup
from jupyter_durable.kernel.statements import Namespace, StatementLog
from jupyter_durable.kernel.views import view
from jupyter_durable.runtime.local import is_local

__all__ = [
    "Restored",
    "Snapshot",
    "StatementLog",
    "capture",
    "differing",
    "fingerprint",
    "inputs_of",
    "reset_names",
    "restore",
    "shell_executor",
]

Digest = Callable[[Any], bytes]
"""The codec's keyed canonical digest of a value."""

LIMIT = 256 * 2**20
"""Bytes of values a snapshot holds at most, unless told otherwise."""


def capture(
    source: str,
    user_ns: dict[str, Any],
    log: StatementLog,
    digest: Digest,
    *,
    transform: Transform | None = None,
    limit: int = LIMIT,
) -> Snapshot:
    """What cell `source` needs from `user_ns`, before it runs. A cell that does not parse needs nothing.

    `limit` is in bytes. Raises `EncodingError` naming the largest values if there are more.

    >>> ns = {"limit": 3, "other": 4}
    >>> capture("print(limit)", ns, StatementLog(), lambda value: b"digest").names
    ('limit',)
    """
    try:
        wanted = list(needs(parse(source, transform)).reads)
    except SyntaxError:
        return Snapshot(python=_python())
    while True:
        reached = reach(wanted, user_ns, log)
        sieve = Sieve(user_ns, log, reached, limit)
        sieve.fill()
        # What pickling found, and the arguments of statements to execute again, may lead further.
        more = sieve.wanted() - set(wanted)
        if not more:
            break
        wanted += sorted(more)
    items, blob = sieve.plan()
    missing = {**sieve.missing, **dict.fromkeys(reached.history, _HISTORY)}
    inputs = {name: _mark(value, digest, user_ns) for name, value in sieve.data.items()}
    return Snapshot(items, blob, inputs, missing, tuple(reached.absent), _paths(reached), _python())


_HISTORY = "IPython's history is not captured; give the value a name of its own"


def inputs_of(
    source: str, user_ns: Namespace, log: StatementLog, digest: Digest, *, transform: Transform | None = None
) -> dict[str, str]:
    """The digests (hex) of the values cell `source` would read now; to compare with `Snapshot.inputs`."""
    try:
        wanted = needs(parse(source, transform)).reads
    except SyntaxError:
        return {}
    return {name: _mark(value, digest, user_ns) for name, value in reach(wanted, user_ns, log).data.items()}


def differing(then: Mapping[str, str], now: Mapping[str, str], reset: Iterable[str] = ()) -> tuple[str, ...]:
    """The names in both whose digests differ, without those that will be `reset` to the snapshot.

    A name that is not there now is no difference: restoring brings it back.
    """
    kept = set(then) - set(reset)
    return tuple(name for name in then if name in kept and now.get(name, then[name]) != then[name])


@dataclass(frozen=True)
class _Left:
    """How a run left one name: which object, and in which state."""

    identity: int | None
    state: str
    alive: Callable[[], Any] | None


def fingerprint(names: Iterable[str], user_ns: Namespace, digest: Digest) -> dict[str, _Left]:
    """How `names` (`Snapshot.state`) are now, when a run stops. Kept in memory, for this kernel only."""
    return {name: _left(name, user_ns, digest) for name in names}


def reset_names(left: Mapping[str, _Left], user_ns: Namespace, digest: Digest) -> list[str]:
    """The names nobody has rebound or changed in place since: to `restore(..., overwrite=...)`.

    All others are the user's.
    """
    found = []
    for name, then in left.items():
        now = _left(name, user_ns, digest)
        died = then.alive is not None and then.alive() is None  # another object may have its id
        if (now.identity, now.state) == (then.identity, then.state) and not died:
            found.append(name)
    return found


def _left(name: str, ns: Namespace, digest: Digest) -> _Left:
    value, alive = lookup(name, ns), None
    if value is ABSENT:
        return _Left(None, "", None)
    with contextlib.suppress(TypeError):
        alive = weakref.ref(value)
    return _Left(id(value), _mark(value, digest, ns), alive)


def _mark(value: Any, digest: Digest, ns: Namespace) -> str:
    try:
        return digest(view(value, ns)).hex()
    except Exception:  # noqa: BLE001 - a stranger's object; that it is there is all we can say
        return f"opaque {type(value).__module__}.{type(value).__qualname__}"


def _paths(reached: Reached) -> tuple[str, ...]:
    """Where the user's own modules were found: a fresh kernel may not have added it to `sys.path`."""
    found: dict[str, None] = {}
    for name in sorted(filter(is_local, reached.modules)):
        path = Path(str(sys.modules[name].__file__))
        depth = name.count(".") + (path.name == "__init__.py")
        found[str(path.parents[depth])] = None
    return tuple(found)


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
