"""Bring a snapshot's names back: in a fresh kernel, or in the one the run was stopped in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_durable.kernel.names import parse, stores
from jupyter_durable.kernel.pickles import Reader, is_missing
from jupyter_durable.kernel.snapshot import EMPTY, Item, Snapshot
from jupyter_durable.kernel.state import assign
from jupyter_durable.kernel.statements import StatementLog

_NOTHING = object()


@dataclass(frozen=True)
class Restored:
    """What `restore` did.

    names: set, in order. re_executed: statements executed again to make clients, locks and the like.
    missing: why a name is not there and what to do, by name; the cell fails only where it uses it.
    """

    names: tuple[str, ...] = ()
    re_executed: tuple[str, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)


def restore(
    snapshot: Snapshot,
    user_ns: dict[str, Any],
    *,
    shell_exec: Callable[[str], None],
    overwrite: Collection[str] = (),
    log: StatementLog | None = None,
) -> Restored:
    """Set the snapshot's names that `user_ns` lacks, and those in `overwrite`; never another.

    A name in `overwrite` that was absent then is deleted. `shell_exec(source)` executes source in
    `user_ns` and raises what it raises (`shell_executor` makes one); `log`, if given, records it.
    Loads a pickle: the journal the snapshot came from must have been verified.
    Never raises for a single name: it is then in `missing`.
    """
    # An attribute of a definition (`Agent.calls`) comes back with the definition.
    target = {
        item.name
        for item in snapshot.items
        if item.name.partition(".")[0] not in user_ns or item.name in overwrite
    }
    for name in set(snapshot.absent) & set(overwrite):
        user_ns.pop(name, None)
    if target:
        _extend_path(snapshot.paths)
    missing = {name: why for name, why in snapshot.missing.items() if name not in user_ns}
    values = _Values(snapshot, user_ns, target, missing)
    names: list[str] = []
    statements: list[str] = []
    for item in snapshot.items:
        if item.kind == "value":
            why = values.read(item)
        elif item.name in target:
            why = _execute(item, user_ns, shell_exec)
        if item.name not in target:
            continue
        if why:
            missing[item.name] = why
            continue
        names.append(item.name)
        if item.kind == "statement":
            statements.append(item.source)
        if log is not None and item.kind != "value":
            log.record(item.source)
        elif log is not None and "." in item.name:
            log.record(f"{item.name} = ...")  # that it was set, not what to
    values.settle()
    return Restored(tuple(names), tuple(statements), missing)


class _Values:
    """Reads the records of a snapshot's blob, one by one, into the names that are to be set."""

    def __init__(
        self, snapshot: Snapshot, ns: dict[str, Any], target: set[str], missing: dict[str, str]
    ) -> None:
        wanted = [item for item in snapshot.items if item.kind == "value" and item.name in target]
        self._reader = Reader(snapshot.blob, ns, missing) if wanted else None
        self._ns, self._target, self._python = ns, target, snapshot.python
        self._broken = ""
        self._stand_ins = {item.name: EMPTY[item.source]() for item in wanted if item.source}
        self._contents: list[tuple[Any, Any]] = []
        ns.update(self._stand_ins)

    def read(self, item: Item) -> str:
        """Read the next record and bind it; why it cannot be, or nothing."""
        stand_in = self._stand_ins.get(item.name)
        if self._ns.get(item.name, _NOTHING) is stand_in:
            del self._ns[item.name]
        if self._reader is None or self._broken:
            return self._broken
        try:
            value = self._reader.read()
        except Exception as error:  # noqa: BLE001 - a stranger's `__setstate__` may raise anything
            why = f"its value cannot be rebuilt ({type(error).__name__}: {error})"
            if self._python != (here := f"{sys.version_info.major}.{sys.version_info.minor}"):
                why += f"; it was stored by Python {self._python}, and this is {here}"
            # Records share one memo: after one that failed, the rest cannot be read safely.
            self._broken = f"its value was stored after that of {item.name}: {why}"
            return why
        if is_missing(value):
            return repr(value)
        if item.name in self._target:
            try:
                assign(item.name, value, self._ns)
            except Exception as error:  # noqa: BLE001 - a metaclass may refuse, and its definition may be missing
                return f"it cannot be set ({type(error).__name__}: {error})"
            if stand_in is not None:
                self._contents += [(value, value.copy()), (stand_in, value.copy())]
        return ""

    def settle(self) -> None:
        """Give containers their contents: decorators executed again may have registered a second time."""
        for container, content in self._contents:
            if type(container) is list:
                container[:] = content
            else:
                container.clear()
                container.update(content)


def _execute(item: Item, ns: dict[str, Any], shell_exec: Callable[[str], None]) -> str:
    """Execute the item's source for the sake of its name; whatever else it binds is put back."""
    before = {name: ns.get(name, _NOTHING) for name in stores(parse(item.source).body) if name != item.name}
    try:
        shell_exec(item.source)
    except Exception as error:  # noqa: BLE001 - the user's own statements may raise anything
        return f"`{item.source.strip()}` raised {type(error).__name__}: {error}"
    finally:
        for name, value in before.items():
            if value is _NOTHING:
                ns.pop(name, None)
            else:
                ns[name] = value
    return ""


def _extend_path(paths: Collection[str]) -> None:
    here = str(Path.cwd())
    sys.path += [path for path in paths if path not in sys.path and path != here and Path(path).is_dir()]


def shell_executor(shell: Any) -> Callable[[str], None]:
    """A `shell_exec` for an IPython shell: tracebacks and `inspect.getsource` show the source."""

    def execute(source: str) -> None:
        name = shell.compile.cache(source)
        exec(compile(source, name, "exec", dont_inherit=True), shell.user_global_ns, shell.user_ns)  # noqa: S102

    return execute
